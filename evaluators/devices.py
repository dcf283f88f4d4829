"""Devices named as BACKEND:DEVICE, and what each back end can run there.

    openvino:cpu  openvino:gpu  openvino:gpu.1  openvino:npu        any device of this OpenVINO
    onnxruntime:cpu  onnxruntime:cuda  onnxruntime:tensorrt         any execution provider installed
    tensorrt  t4                                                     the NVIDIA GPU of this machine

The device also names the lock that keeps measurements apart, so two back ends on one device never run together.
"""

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foundation.errors import UserError

if TYPE_CHECKING:
    from evaluators.hardware import Hardware

OPENVINO, ONNXRUNTIME, TENSORRT = "openvino", "onnxruntime", "tensorrt"
NVIDIA_DEVICE = "cuda:0"
NVIDIA_IMAGE_SIZE = 640  # as in the paper
# Execution providers by the device they are named after here, and what they really run: int8 Q/DQ on CUDA is float.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_PROVIDER_PRECISIONS = {
    "cpu": ("fp32", "int8"),
    "cuda": ("fp32", "fp16"),
    "tensorrt": ("fp32", "fp16", "int8"),
}
_OPENVINO_PRECISIONS = (("FP32", "fp32"), ("FP16", "fp16"), ("BF16", "bf16"), ("INT8", "int8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How passes follow each other; part of every record.

    Attributes:
        flush_l2: overwrite the second-level cache before every pass, so that none finds the weights there.
        gap_s: pause after every pass, which lets the GPU cool and its clock fall as between single requests.
    """

    flush_l2: bool = False
    gap_s: float = 0.0


def named_device(name: str) -> "Hardware":
    """The device behind BACKEND:DEVICE.

    Raises:
        UserError: no such back end, or the device is not here; lists those that are.
    """
    from evaluators.hardware import CPU_IMAGE_SIZE, Hardware

    backend, _, device = name.partition(":")
    device = device.lower()
    if backend == OPENVINO:
        device = _openvino_device(name, device)
    elif backend == ONNXRUNTIME:
        _require_provider(name, device)
    else:
        raise UserError(
            f"hardware {name!r}: the back ends are {OPENVINO} and {ONNXRUNTIME}, such as onnxruntime:cpu"
        )
    nvidia = backend == ONNXRUNTIME and device != "cpu"
    return Hardware(
        name=f"{backend}:{device}",
        device=NVIDIA_DEVICE if nvidia else device,
        backend=backend,
        reason=f"using {device} through {backend}, as asked",
        default_image_size=CPU_IMAGE_SIZE if device == "cpu" else NVIDIA_IMAGE_SIZE,
    )


def overflows_int8(hardware: "Hardware") -> bool:
    """Whether int8 weights must keep to half their range there, or sums of products no longer fit.

    x86 CPUs without VNNI or AMX add two products of 8 bits in 16 bits and cut off what is too large: 255 * 127 twice
    is, 255 * 64 twice is not. Both OpenVINO and ONNX Runtime use these instructions there.
    """
    if hardware.backend not in (OPENVINO, ONNXRUNTIME) or hardware.device != "cpu":
        return False
    import torch

    able = torch.cpu.get_capabilities()
    vnni = ("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8")
    return able.get("architecture") == "x86_64" and not any(able.get(name) for name in vnni)


def nvidia_gpu(name: str, reason: str) -> "Hardware":
    """The NVIDIA GPU of this machine through TensorRT.

    Raises:
        UserError: TensorRT or PyCUDA is missing, the GPU is not the one asked for, or the TensorRT here does not
            build for it.
    """
    from evaluators.hardware import Hardware
    from evaluators.tensorrt.library import T4, find_library, require_capability

    library = find_library(TENSORRT)
    if importlib.util.find_spec("pycuda") is None:
        raise UserError("the package pycuda is not installed; pip install 'yolov6-search[tensorrt]'")
    gpu = gpu_name() or "an unknown GPU"
    if name == "t4" and not is_t4(gpu):
        raise UserError(f"hardware 't4': the GPU here is {gpu}; measure on it with --hardware tensorrt")
    if is_t4(gpu):
        require_capability(library, T4)
    return Hardware(
        name=name,
        device=NVIDIA_DEVICE,
        backend=TENSORRT,
        reason=f"{reason}: {gpu} through TensorRT {library.version}",
        default_image_size=NVIDIA_IMAGE_SIZE,
    )


def gpu_name() -> str:
    """Name of the NVIDIA GPU here as its driver tells it; empty where it tells nothing."""
    from evaluators.tensorrt.nvml import describe_gpu

    return str(describe_gpu().get("name", ""))


def is_t4(gpu: str) -> bool:
    """Whether this is the name of a Tesla T4."""
    return "T4" in gpu.split()


def precisions_of(hardware: "Hardware") -> tuple[str, ...]:
    """Kinds of precision that mean something on this device."""
    if hardware.backend == TENSORRT:
        return ("fp32", "fp16", "int8")
    if hardware.backend == ONNXRUNTIME:
        return _PROVIDER_PRECISIONS[provider_device(hardware)]
    import openvino

    capabilities = openvino.Core().get_property(hardware.device.upper(), "OPTIMIZATION_CAPABILITIES")
    known = tuple(kind for capability, kind in _OPENVINO_PRECISIONS if capability in capabilities)
    return tuple(kind for kind in known if kind != "fp16") if hardware.device == "cpu" else known


def provider_device(hardware: "Hardware") -> str:
    """`cpu`, `cuda` or `tensorrt` of an ONNX Runtime device."""
    return hardware.name.rpartition(":")[2]


def _openvino_device(name: str, device: str) -> str:
    """The device by the one name that its lock has: of several GPUs OpenVINO takes `gpu` for `gpu.0`."""
    import openvino

    here = [each.lower() for each in openvino.Core().available_devices]
    for known in (device, f"{device}.0"):
        if known in here:
            return known
    raise UserError(f"hardware {name!r}: OpenVINO finds {', '.join(here)} here, and no other device")


def _require_provider(name: str, device: str) -> None:
    import onnxruntime

    installed = onnxruntime.get_available_providers()
    here = [each for each, provider in PROVIDERS.items() if provider in installed]
    if device not in here:
        extra = "; CUDA and TensorRT come with the package onnxruntime-gpu" if device in PROVIDERS else ""
        raise UserError(f"hardware {name!r}: this ONNX Runtime has {', '.join(here)}{extra}")
