import sys
from types import SimpleNamespace

import pytest

from evaluators.tensorrt.nvml import _first_of_cuda, describe_gpu, gpu_state, throttle_words, throttling


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
        ({"held_back_power_ns": 7}, {"held_back_power_ns": 1_000_007}, None),
        (
            {"held_back_power_ns": 7, "held_back_thermal_ns": 1},
            {"held_back_power_ns": 7, "held_back_thermal_ns": 90_000_000},
            "the GPU was throttled (thermal limit during the run)",
        ),
        ({"compute_processes": 1}, {"compute_processes": 2}, "other processes use the GPU"),
    ],
)
def test_states_around_a_run_tell_what_disturbed_it(before, after, words):
    assert throttling(before, after) == words


class Nvml:
    """Two GPUs in order of their PCI addresses."""

    class NVMLError(Exception):
        pass

    @staticmethod
    def nvmlDeviceGetHandleByIndex(index):  # noqa: N802
        return ("first", "second")[index]

    @staticmethod
    def nvmlDeviceGetHandleByPciBusId(address):  # noqa: N802
        return {b"0000:01": "first", b"0000:02": "second"}[address]


@pytest.mark.parametrize(("broken", "expected"), [(False, "second"), (True, "first")])
def test_the_gpu_is_the_one_that_cuda_shows_first(monkeypatch, broken, expected):
    class Error(Exception):
        pass

    def init():
        if broken:
            raise Error

    driver = SimpleNamespace(
        init=init, Error=Error, Device=lambda index: SimpleNamespace(pci_bus_id=lambda: "0000:02")
    )
    monkeypatch.setitem(sys.modules, "pycuda", SimpleNamespace(driver=driver))
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    assert _first_of_cuda(Nvml) == expected
