import pytest

from evaluators.tensorrt.nvml import describe_gpu, gpu_state, throttle_words, throttling


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (0, []),
        (0x1, []),  # idle
        (0x4, ["software power cap"]),
        (0x60, ["software thermal slowdown", "hardware thermal slowdown"]),
    ],
)
def test_throttle_reasons_in_words(mask, words):
    assert throttle_words(mask) == words


def test_without_a_driver_there_is_nothing_to_tell(monkeypatch):
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")

    def no_driver():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    assert describe_gpu() == {}
    assert gpu_state() == {}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {}, None),  # a CPU
        (
            {"throttle_reasons": [], "compute_processes": 1},
            {"throttle_reasons": [], "compute_processes": 1},
            None,
        ),
        ({"throttle_reasons": ["a"]}, {"throttle_reasons": ["a", "b"]}, "the GPU was throttled (a, b)"),
        ({"compute_processes": 1}, {"compute_processes": 2}, "other processes use the GPU"),
    ],
)
def test_states_around_a_run_tell_what_disturbed_it(before, after, words):
    assert throttling(before, after) == words
