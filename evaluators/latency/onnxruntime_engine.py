"""ONNX Runtime: one session, pinned threads, input and output bound so that a pass copies nothing."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from evaluators.artefact import Artefact
from evaluators.devices import PROVIDERS
from evaluators.environment import physical_cores
from evaluators.latency.onnxruntime_graph import read_for_onnxruntime
from foundation.errors import UserError, WorkFailedError
from foundation.scratch import Scratch

Floats = NDArray[np.float32]

_OUTPUTS = ("boxes", "scores")
# fp32 means fp32: CUDA would take TF32.
_PROVIDER_OPTIONS: Mapping[str, dict[str, str]] = {
    "cpu": {},
    "cuda": {"device_id": "0", "use_tf32": "0"},
    "tensorrt": {"device_id": "0"},
}
_CONVOLUTIONS = {
    "Conv": "Convolution",
    "FusedConv": "Convolution",
    "NhwcFusedConv": "Convolution",
    "QLinearConv": "Convolution",
    "ConvTranspose": "Deconvolution",
}


class OnnxRuntimeEngine:
    """See `evaluators.latency.engine.Engine`."""

    def __init__(self, artefact: Artefact, device: str, threads: int | None = None) -> None:
        """`device`: cpu, cuda or tensorrt."""
        import onnxruntime

        self._threads = physical_cores() if threads is None else threads
        if self._threads < 1:
            raise UserError(f"threads is {self._threads}; give at least 1")
        self._provider = PROVIDERS[device]
        self._memory = "cpu" if device == "cpu" else "cuda"
        self._cores = _cores(self._threads)
        self._folder = Scratch("onnxruntime")
        self._optimised = self._folder.path / "optimised.onnx"
        providers = [(self._provider, _PROVIDER_OPTIONS[device])]
        try:
            graph = read_for_onnxruntime(artefact.onnx) if device == "cpu" else artefact.onnx.read_bytes()
            self._session = onnxruntime.InferenceSession(graph, self._options(), providers=providers)
        except Exception as error:  # its errors have no common base but Exception
            self._folder.cleanup()
            raise WorkFailedError(f"ONNX Runtime cannot open {artefact.onnx}: {error}") from error
        if self._session.get_providers()[0] != self._provider:  # it falls back to the CPU without a word
            self._folder.cleanup()
            raise WorkFailedError(f"ONNX Runtime has no {self._provider} that works here")
        self._shape = tuple(self._session.get_inputs()[0].shape)
        self._binding: Any = None
        # Only during a pass: a caller that stays on one core hands it on to all threads and engines it makes later.
        self._caller = set(self._cores[:1]) if device == "cpu" else set()
        self._usable = os.sched_getaffinity(0)

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
        import onnxruntime

        return {
            "threads": self._threads,
            "denormals_flushed": True,
            "onnxruntime_options": {
                "version": onnxruntime.__version__,
                "providers": self._session.get_providers(),
                "intra_op_num_threads": self._threads,
                "pinned_cores": self._cores,
                "graph_optimization_level": "all",
            },
        }

    def infer(self, images: Floats) -> tuple[Floats, Floats]:
        self._check(images)
        boxes, scores = self._session.run(list(_OUTPUTS), {"images": np.ascontiguousarray(images)})
        return boxes, scores

    def load(self, images: Floats) -> None:
        import onnxruntime

        self._check(images)
        value = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(images), self._memory, 0)
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input("images", value)
        for name in _OUTPUTS:
            self._binding.bind_output(name, self._memory, 0)

    def run(self) -> None:
        if self._caller:
            os.sched_setaffinity(0, self._caller)
        try:
            self._session.run_with_iobinding(self._binding)
            self._binding.synchronize_outputs()
        finally:
            if self._caller:
                os.sched_setaffinity(0, self._usable)

    def runtime_precisions(self) -> Counter[str]:
        import onnx

        if not self._optimised.is_file():
            return Counter()
        graph = onnx.load(str(self._optimised)).graph
        counts: Counter[str] = Counter()
        for node in graph.node:
            number = "i8" if node.op_type.startswith("QLinear") else "f32"
            counts[f"{_CONVOLUTIONS.get(node.op_type, node.op_type)} {number}"] += 1
        return counts

    def close(self) -> None:
        """Free the memory of the network."""
        del self._session, self._binding
        self._folder.cleanup()

    def _options(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # saving the optimised graph warns that it is for this machine only
        if self._provider != PROVIDERS["tensorrt"]:  # whose compiled parts it refuses to save
            options.optimized_model_filepath = str(self._optimised)
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        if len(self._cores) == self._threads > 1:
            # For all threads but the caller, which is pinned during a pass; cores are counted from 1.
            affinities = ";".join(str(core + 1) for core in self._cores[1:])
            options.add_session_config_entry("session.intra_op_thread_affinities", affinities)
        return options

    def _check(self, images: Floats) -> None:
        if images.shape != self._shape:
            raise ValueError(f"images have shape {images.shape}; this engine was built for {self._shape}")


def _cores(threads: int) -> list[int]:
    """Logical cores to pin that many threads to, spread over those we may use; none when there are too few."""
    usable = sorted(psutil.Process().cpu_affinity())
    step = max(1, len(usable) // threads)
    return usable[::step][:threads] if len(usable) >= threads else []
