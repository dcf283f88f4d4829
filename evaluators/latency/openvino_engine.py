"""OpenVINO, on a CPU foremost: one stream, pinned threads, the number format asked for and no other."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.artefact import Artefact
from evaluators.denormals import flushes_denormals
from evaluators.environment import physical_cores
from evaluators.latency.openvino_graph import read_for_openvino
from foundation.errors import UserError, WorkFailedError

Floats = NDArray[np.float32]

# What float layers run in. Without it OpenVINO takes bf16 wherever the CPU has it, also for an fp32 network.
_FLOAT_FORMAT = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
# GPUs and NPUs know neither threads nor denormals.
_CPU_OPTIONS = ("INFERENCE_NUM_THREADS", "ENABLE_CPU_PINNING", "CPU_DENORMALS_OPTIMIZATION")
_REPORTED = (
    "INFERENCE_NUM_THREADS",
    "NUM_STREAMS",
    "INFERENCE_PRECISION_HINT",
    "PERFORMANCE_HINT",
    "ENABLE_CPU_PINNING",
    "CPU_DENORMALS_OPTIMIZATION",
)


class OpenVinoEngine:
    """See `evaluators.latency.engine.Engine`."""

    def __init__(self, artefact: Artefact, device: str, threads: int | None = None) -> None:
        import openvino

        threads = physical_cores() if threads is None else threads
        if threads < 1:
            raise UserError(f"threads is {threads}; give at least 1")
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": True,
            "INFERENCE_PRECISION_HINT": _FLOAT_FORMAT[artefact.meta.precision],
            "CPU_DENORMALS_OPTIMIZATION": True,
        }
        on_cpu = device == "cpu"
        if not on_cpu:
            options = {name: value for name, value in options.items() if name not in _CPU_OPTIONS}
        self._reported = [name for name in _REPORTED if on_cpu or name not in _CPU_OPTIONS]
        try:
            core = openvino.Core()
            model = core.read_model(read_for_openvino(artefact.onnx))
            self._compiled = core.compile_model(model, device.upper(), options)
        except RuntimeError as error:
            raise WorkFailedError(f"OpenVINO cannot compile {artefact.onnx}: {error}") from error
        self._request = self._compiled.create_infer_request()
        self._shape = tuple(self._compiled.input("images").shape)
        self._threads = threads
        self._loaded: Floats | None = None

    @property
    def batch(self) -> int:
        return int(self._shape[0])

    @property
    def clock(self) -> Callable[[], float]:
        return time.perf_counter

    def state(self) -> Mapping[str, Any]:
        return {}

    @property
    def environment(self) -> Mapping[str, Any]:
        reported = {name.lower(): self._compiled.get_property(name) for name in self._reported}
        plain = {
            name: value if isinstance(value, bool | int) else _text(value) for name, value in reported.items()
        }
        return {
            "threads": self._threads,
            "denormals_flushed": flushes_denormals(),
            "openvino_options": plain,
        }

    def infer(self, images: Floats) -> tuple[Floats, Floats]:
        self.load(images)
        self.run()
        boxes, scores = (self._request.get_tensor(name).data.copy() for name in ("boxes", "scores"))
        return boxes, scores

    def load(self, images: Floats) -> None:
        import openvino

        if images.shape != self._shape:
            raise ValueError(f"images have shape {images.shape}; this engine was built for {self._shape}")
        self._loaded = np.ascontiguousarray(images, dtype=np.float32)  # kept: the engine reads this memory
        self._request.set_tensor("images", openvino.Tensor(self._loaded, shared_memory=True))

    def run(self) -> None:
        self._request.infer()

    def runtime_precisions(self) -> Counter[str]:
        # u8 and i8 are one thing here: OpenVINO chooses the sign.
        counts: Counter[str] = Counter()
        for layer in self._compiled.get_runtime_model().get_ordered_ops():
            info = layer.get_rt_info()
            kind, number = info["layerType"].astype(str), info["runtimePrecision"].astype(str)
            counts[f"{kind} {'i8' if number == 'u8' else number}"] += 1
        return counts

    def close(self) -> None:
        """Free the memory of the network."""
        del self._request, self._compiled


def _text(value: Any) -> str:
    """`<Type: 'float32'>` and the like as their name."""
    return str(value.to_string() if hasattr(value, "to_string") else getattr(value, "name", value))
