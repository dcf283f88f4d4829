"""What the NVIDIA driver tells about a GPU: name, versions, clocks, power, temperature, throttle reasons.

Plain JSON values; empty where there is no driver or no `nvidia-ml-py`. Field names follow NVML
(docs.nvidia.com/deploy/nvml-api); a figure the GPU does not support is left out.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

# nvmlClocksEventReasons of nvml.h. Idle (1) and the clocks an application set (2) are no disturbance.
THROTTLE_REASONS = {
    0x0004: "software power cap",
    0x0008: "hardware slowdown",
    0x0010: "sync boost",
    0x0020: "software thermal slowdown",
    0x0040: "hardware thermal slowdown",
    0x0080: "hardware power brake",
    0x0100: "display clock setting",
}

# Counters of time below the usual clocks: the reasons above are those of a moment, mostly an idle one.
HELD_BACK_NS = 10_000_000  # less of a run of seconds is no word worth
_POLICIES = {"power": "NVML_PERF_POLICY_POWER", "thermal": "NVML_PERF_POLICY_THERMAL"}


def describe_gpu() -> dict[str, Any]:
    """Of the first GPU of CUDA what does not change during a run: name, memory, versions, power limit."""
    with _device() as (nvml, device):
        if nvml is None:
            return {}
        return _known(
            {
                "name": lambda: _text(nvml.nvmlDeviceGetName(device)),
                "uuid": lambda: _text(nvml.nvmlDeviceGetUUID(device)),
                "driver": lambda: _text(nvml.nvmlSystemGetDriverVersion()),
                "cuda_driver": lambda: _cuda(nvml.nvmlSystemGetCudaDriverVersion()),
                "memory_mib": lambda: nvml.nvmlDeviceGetMemoryInfo(device).total // 2**20,
                "compute_capability": lambda: "{}.{}".format(
                    *nvml.nvmlDeviceGetCudaComputeCapability(device)
                ),
                "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(device) / 1e3,
                "max_sm_clock_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(device, nvml.NVML_CLOCK_SM),
                "persistence_mode": lambda: bool(nvml.nvmlDeviceGetPersistenceMode(device)),
            }
        )


def gpu_state() -> dict[str, Any]:
    """What does: clocks, power, temperature, throttle reasons in words, how long it was held back (nanoseconds since
    the driver started, by reason), processes of others."""
    with _device() as (nvml, device):
        if nvml is None:
            return {}
        return _known(
            {
                "sm_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_SM),
                "memory_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_MEM),
                "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(device) / 1e3,
                "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU),
                "throttle_reasons": lambda: throttle_words(
                    nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device)
                ),
                **{
                    f"held_back_{name}_ns": partial(_held_back, nvml, device, policy)
                    for name, policy in _POLICIES.items()
                },
                "compute_processes": lambda: len(nvml.nvmlDeviceGetComputeRunningProcesses(device)),
            }
        )


def _held_back(nvml: Any, device: Any, policy: str) -> int:
    return int(nvml.nvmlDeviceGetViolationStatus(device, getattr(nvml, policy)).violationTime)


def throttle_words(mask: int) -> list[str]:
    """The reasons in a bit mask of NVML that slow a GPU down."""
    return [words for bit, words in THROTTLE_REASONS.items() if mask & bit]


def throttling(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """What slowed the GPU down, or who else computed on it, by its states around a run; None when nothing did."""
    states = (before, after)
    found = list(dict.fromkeys(word for state in states for word in state.get("throttle_reasons", ())))
    for name in _POLICIES:
        key = f"held_back_{name}_ns"
        if after.get(key, 0) - before.get(key, after.get(key, 0)) > HELD_BACK_NS:
            found.append(f"{name} limit during the run")
    if found:
        return f"the GPU was throttled ({', '.join(found)})"
    if max(state.get("compute_processes", 0) for state in states) > 1:
        return "other processes use the GPU"
    return None


@contextmanager
def _device() -> Iterator[tuple[Any, Any]]:
    """NVML and the handle of a GPU, or (None, None)."""
    try:
        import pynvml
    except ImportError:
        yield None, None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None, None
        return
    try:
        handle = None
        with suppress(pynvml.NVMLError):
            handle = _first_of_cuda(pynvml)
        yield (None, None) if handle is None else (pynvml, handle)
    finally:
        pynvml.nvmlShutdown()


def _first_of_cuda(nvml: Any) -> Any:
    """NVML counts GPUs by PCI address and knows nothing of CUDA_VISIBLE_DEVICES, so CUDA is asked for the address."""
    try:
        import pycuda.driver as cuda
    except ImportError:
        return nvml.nvmlDeviceGetHandleByIndex(0)
    try:
        cuda.init()
        address = cuda.Device(0).pci_bus_id()
    except cuda.Error:
        return nvml.nvmlDeviceGetHandleByIndex(0)
    return nvml.nvmlDeviceGetHandleByPciBusId(address.encode())


def _known(questions: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """The answers that this GPU and driver give."""
    import pynvml

    answers: dict[str, Any] = {}
    for name, ask in questions.items():
        with suppress(pynvml.NVMLError):
            answers[name] = ask()
    return answers


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _cuda(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
