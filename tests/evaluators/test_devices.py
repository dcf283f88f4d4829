from types import SimpleNamespace

import pytest

from evaluators import devices
from evaluators.devices import named_device, nvidia_gpu, precisions_of
from evaluators.hardware import float_format, resolve_hardware
from evaluators.tensorrt.library import Library
from foundation.errors import UserError


def test_two_back_ends_on_one_device_share_its_lock():
    first, second = resolve_hardware("onnxruntime:CPU"), resolve_hardware("openvino:cpu")
    assert first.device == second.device == resolve_hardware("cpu").device
    assert (first.backend, second.backend) == ("onnxruntime", "openvino")
    assert first.name == "onnxruntime:cpu"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("openvino:npu", "OpenVINO finds cpu here"),
        ("onnxruntime:cuda", "this ONNX Runtime has cpu; .* onnxruntime-gpu"),
        ("onnxruntime:tpu", "this ONNX Runtime has cpu$"),
        ("ncnn:cpu", "the back ends are openvino and onnxruntime"),
    ],
)
def test_what_is_not_here_is_refused_with_what_is(monkeypatch, name, message):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr("openvino.Core", lambda: SimpleNamespace(available_devices=["CPU"]))
    with pytest.raises(UserError, match=message):
        named_device(name)


def test_a_gpu_of_openvino_by_name(monkeypatch):
    core = SimpleNamespace(
        available_devices=["CPU", "GPU.0", "GPU.1"],
        get_property=lambda device, name: ["FP32", "FP16", "INT8"],
    )
    monkeypatch.setattr("openvino.Core", lambda: core)
    gpu = named_device("openvino:GPU.1")
    assert (gpu.device, gpu.default_image_size) == ("gpu.1", 640)
    first, second = named_device("openvino:gpu"), named_device("openvino:gpu.0")
    assert first.device == second.device == "gpu.0"  # one device, one lock
    assert precisions_of(gpu) == ("fp32", "fp16", "int8")
    assert float_format(gpu) == "fp32"


@pytest.mark.parametrize(
    ("capabilities", "name", "overflows"),
    [
        ({"architecture": "x86_64", "avx2": True, "avx512_vnni": False}, "cpu", True),
        ({"architecture": "x86_64", "avx512_vnni": True}, "cpu", False),
        ({"architecture": "x86_64", "avx_vnni": True}, "onnxruntime:cpu", False),
        ({"architecture": "x86_64"}, "onnxruntime:cpu", True),
        ({"architecture": "aarch64"}, "cpu", False),
        ({"architecture": "x86_64"}, "t4", False),
    ],
)
def test_int8_overflows_on_x86_cpus_without_vnni(monkeypatch, capabilities, name, overflows):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities)
    monkeypatch.setattr("evaluators.hardware.has_nvidia_gpu", lambda: False)
    assert devices.overflows_int8(resolve_hardware(name)) is overflows


def test_onnx_runtime_on_nvidia_shares_the_lock_of_tensorrt(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: list(devices.PROVIDERS.values()))
    gpu = named_device("onnxruntime:tensorrt")
    assert gpu.device == devices.NVIDIA_DEVICE
    assert float_format(gpu) == "fp16"
    assert precisions_of(gpu) == ("fp32", "fp16", "int8")
    assert "int8" not in precisions_of(named_device("onnxruntime:cuda"))  # its Q/DQ would run in float


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU of the given name, PyCUDA and that release of TensorRT."""

    def make(name, version="10.14.1.48", packages=("pycuda",)):
        library = Library("tensorrt", SimpleNamespace(__version__=version))
        library.__dict__["packed_architectures"] = frozenset()
        monkeypatch.setattr("evaluators.tensorrt.library.find_library", lambda name: library)
        monkeypatch.setattr("evaluators.tensorrt.nvml.describe_gpu", lambda: {"name": name})
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name in packages else None)

    return make


def test_a_tesla_t4_through_tensorrt(gpu):
    gpu("Tesla T4")
    found = nvidia_gpu("t4", "as asked")
    assert (found.device, found.backend, found.default_image_size) == ("cuda:0", "tensorrt", 640)
    assert found.reason == "as asked: Tesla T4 through TensorRT 10.14.1.48"
    assert precisions_of(found) == ("fp32", "fp16", "int8")


def test_a_t4_under_its_other_name_needs_a_release_that_builds_for_it_too(gpu):
    gpu("Tesla T4", version="11.4.1.9")
    with pytest.raises(UserError, match="not known to build"):
        nvidia_gpu("tensorrt", "as asked")
    gpu("NVIDIA A10", version="11.4.1.9")
    assert nvidia_gpu("tensorrt", "as asked").backend == "tensorrt"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("NVIDIA A10", {}, "the GPU here is NVIDIA A10; measure on it with --hardware tensorrt"),
        ("Tesla T4", {"version": "11.4.1.9"}, "install one from 10.0 to 11.1"),
        ("Tesla T4", {"packages": ()}, "pycuda is not installed"),
    ],
)
def test_another_gpu_or_a_release_that_does_not_build_for_it_is_no_t4(gpu, name, options, message):
    gpu(name, **options)
    with pytest.raises(UserError, match=message):
        nvidia_gpu("t4", "as asked")
