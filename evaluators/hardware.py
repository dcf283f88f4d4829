"""Which device is asked for, and whether this release can measure on it."""

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from evaluators.devices import (
    NVIDIA_DEVICE,
    Pacing,
    gpu_name,
    is_t4,
    named_device,
    nvidia_gpu,
    precisions_of,
)
from foundation.errors import UserError

HARDWARE_NAMES = ("auto", "cpu", "t4", "tensorrt")
CPU_IMAGE_SIZE = 320  # the paper's 640 would take a CPU hundreds of milliseconds
T4_IMAGE_SIZE = 640  # as in the paper
ESTIMATE = "estimate"  # the back end of a device that is not here: nothing is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A device that can be measured on, or whose latencies can at least be estimated.

    Attributes:
        name: what was resolved to, such as `cpu`.
        device: name of the device for the back end, the device lock and records.
        backend: `openvino`, `onnxruntime`, `tensorrt`, or `estimate` for a device that is not here.
        reason: one line for the user: what was chosen and why.
        default_image_size: side of the square input in pixels when the user names none.
        pacing: of passes on an NVIDIA GPU through TensorRT; None for one after the other.
    """

    name: str
    device: str
    backend: str
    reason: str
    default_image_size: int
    pacing: Pacing | None = None

    @property
    def estimated(self) -> bool:
        """Whether latencies on it are estimates and never measured."""
        return self.backend == ESTIMATE


def resolve_hardware(name: str) -> Hardware:
    """The device behind `auto`, `cpu`, `t4`, `tensorrt` or BACKEND:DEVICE (`evaluators.devices`).

    Raises:
        UserError: the name is unknown, or the device cannot be measured on here; says what to use instead.
    """
    if name == "cpu":
        return _cpu("using this machine's CPU through OpenVINO, as asked")
    if name == "auto":
        return _auto()
    if name == "t4" and (why := _no_t4()):
        return _estimated_t4(why)
    if ":" in name:
        return named_device(name)
    if name in HARDWARE_NAMES and has_nvidia_gpu():
        return nvidia_gpu(name, "an NVIDIA GPU, as asked")
    if name in HARDWARE_NAMES:
        raise UserError(f"hardware {name!r}: no NVIDIA GPU was found here; use --hardware cpu")
    raise UserError(
        f"hardware {name!r} is unknown; choose one of {', '.join(HARDWARE_NAMES)}, or BACKEND:DEVICE such as "
        "openvino:gpu or onnxruntime:cpu"
    )


def has_nvidia_gpu() -> bool:
    """Whether a driver reports an NVIDIA GPU."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or shutil.which("nvidia-smi") is not None


def supported_precisions(hardware: Hardware) -> tuple[str, ...]:
    """Kinds of precision that mean something on this device: on a CPU bf16 only where it is built in."""
    if hardware.estimated:
        from evaluators.estimate.tensorrt_time import PRECISIONS

        return PRECISIONS
    return precisions_of(hardware)


def usual_precisions(hardware: Hardware) -> tuple[str, ...]:
    """What a search tries unless told otherwise: the device's own float format, and int8, as far as they run."""
    supported = supported_precisions(hardware)
    return tuple(kind for kind in (float_format(hardware), "int8") if kind in supported)


def check_precision(kind: str, hardware: Hardware) -> None:
    """Raises UserError when `kind` cannot be run on this device, with those that can."""
    supported = supported_precisions(hardware)
    if kind not in supported:
        raise UserError(
            f"precision {kind} does not run on {hardware.name} ({hardware.backend}); "
            f"use {', '.join(supported[:-1])} or {supported[-1]}"
        )


def float_format(hardware: Hardware) -> str:
    """What the float layers of an int8 graph must be typed as: fp32 for OpenVINO, fp16 for NVIDIA's compilers."""
    return (
        "fp16"
        if hardware.backend not in ("openvino", "onnxruntime") or hardware.device == NVIDIA_DEVICE
        else "fp32"
    )


def _cpu(reason: str) -> Hardware:
    return Hardware(
        name="cpu", device="cpu", backend="openvino", reason=reason, default_image_size=CPU_IMAGE_SIZE
    )


def _auto() -> Hardware:
    """The NVIDIA GPU where all is there that it takes, else the CPU with the reason."""
    if not has_nvidia_gpu():
        return _cpu("no NVIDIA GPU found: using this machine's CPU through OpenVINO")
    missing = [name for name in ("tensorrt", "pycuda") if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"NVIDIA GPU found, but the {missing[0]} package is missing"
    else:
        try:
            return nvidia_gpu("tensorrt", "NVIDIA GPU and TensorRT found")
        except UserError as error:
            reason = f"NVIDIA GPU found, but it cannot be used ({error})"
    return _cpu(f"{reason}: using this machine's CPU through OpenVINO")


def _no_t4() -> str | None:
    """Why no Tesla T4 can be measured on here; None where one is."""
    if not has_nvidia_gpu():
        return "no NVIDIA GPU found"
    gpu = gpu_name()
    if not gpu:
        return "no NVIDIA GPU tells its name (pip install 'yolov6-search[tensorrt]' brings what asks it)"
    return None if is_t4(gpu) else f"the GPU here is {gpu} (--hardware tensorrt measures on it)"


def _estimated_t4(why: str) -> Hardware:
    return Hardware(
        name="t4",
        device="Tesla T4",
        backend=ESTIMATE,
        reason=f"{why}: Tesla T4 latencies are estimated by a model calibrated on published speeds, not measured",
        default_image_size=T4_IMAGE_SIZE,
    )
