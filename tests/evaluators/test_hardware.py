import pytest

from evaluators import hardware
from evaluators.hardware import check_precision, resolve_hardware, supported_precisions
from foundation.errors import UserError


def test_cpu():
    cpu = resolve_hardware("cpu")
    assert (cpu.name, cpu.device, cpu.backend, cpu.default_image_size) == ("cpu", "cpu", "openvino", 320)


@pytest.mark.parametrize(
    ("gpu", "tensorrt", "reason"),
    [
        (False, False, "no NVIDIA GPU found"),
        (True, False, "tensorrt package is missing"),
    ],
)
def test_auto_says_in_one_line_why_it_is_the_cpu(monkeypatch, gpu, tensorrt, reason):
    monkeypatch.setattr(hardware, "has_nvidia_gpu", lambda: gpu)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if tensorrt else None)
    resolved = resolve_hardware("auto")
    assert resolved.name == "cpu"
    assert reason in resolved.reason
    assert "\n" not in resolved.reason


def test_tensorrt_is_refused_without_a_gpu(monkeypatch):
    monkeypatch.setattr(hardware, "has_nvidia_gpu", lambda: False)
    with pytest.raises(UserError, match="use --hardware cpu"):
        resolve_hardware("tensorrt")


def test_a_t4_that_is_not_here_is_estimated_and_says_so(monkeypatch):
    monkeypatch.setattr(hardware, "has_nvidia_gpu", lambda: False)
    t4 = resolve_hardware("t4")
    assert t4.estimated
    assert "estimated" in t4.reason
    assert supported_precisions(t4) == ("fp16", "int8")
    assert not resolve_hardware("cpu").estimated


def test_a_t4_is_estimated_beside_another_gpu(monkeypatch):
    monkeypatch.setattr(hardware, "has_nvidia_gpu", lambda: True)
    for gpu, reason in (("NVIDIA RTX A4000", "the GPU here is NVIDIA RTX A4000"), ("", "tells its name")):
        monkeypatch.setattr(
            "evaluators.tensorrt.nvml.describe_gpu", lambda gpu=gpu: {"name": gpu} if gpu else {}
        )
        t4 = resolve_hardware("t4")
        assert t4.estimated
        assert reason in t4.reason


@pytest.mark.parametrize(
    ("packages", "reason"),
    [(("tensorrt",), "pycuda package is missing"), (("tensorrt", "pycuda"), "too old")],
)
def test_auto_falls_back_to_the_cpu_where_the_gpu_cannot_be_used(monkeypatch, packages, reason):
    def too_old(name):
        raise UserError("TensorRT 8.6 is too old")

    monkeypatch.setattr(hardware, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name in packages else None)
    monkeypatch.setattr("evaluators.tensorrt.library.find_library", too_old)
    resolved = resolve_hardware("auto")
    assert resolved.name == "cpu"
    assert reason in resolved.reason


@pytest.mark.parametrize("name", ["t4", "tensorrt"])
def test_a_gpu_without_tensorrt_says_what_to_install(monkeypatch, name):
    monkeypatch.setattr(hardware, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr("evaluators.tensorrt.nvml.describe_gpu", lambda: {"name": "Tesla T4"})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'yolov6-search\[tensorrt\]'"):
        resolve_hardware(name)


@pytest.mark.parametrize("name", ["", "CPU ", "a100", "gpu"])
def test_unknown_names_list_the_choices(name):
    with pytest.raises(UserError, match="auto, cpu, t4, tensorrt"):
        resolve_hardware(name)


def test_precisions_of_a_cpu():
    cpu = resolve_hardware("cpu")
    assert {"fp32", "int8"} <= set(supported_precisions(cpu)) <= {"fp32", "bf16", "int8"}
    check_precision("int8", cpu)
    with pytest.raises(UserError, match=r"fp16 does not run on cpu .* use fp32"):
        check_precision("fp16", cpu)
