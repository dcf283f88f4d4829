"""Running a TensorRT engine through PyCUDA: device buffers, one stream, one CUDA graph, events around it.

The time of a pass is the one between two events on the stream, as the GPU sees it: copies of images and results and
the host's part are not in it. Where something could only be read and not run is said in docs/devices.md.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.devices import Pacing
from evaluators.tensorrt.build import make_logger
from evaluators.tensorrt.cuda_graph import CudaGraph
from evaluators.tensorrt.engines import EngineRecord
from evaluators.tensorrt.library import Library
from evaluators.tensorrt.nvml import describe_gpu, gpu_state
from foundation.errors import WorkFailedError

Floats = NDArray[np.float32]
_INPUT, _OUTPUTS = "images", ("boxes", "scores")


@contextlib.contextmanager
def _cuda_errors() -> Iterator[None]:
    """PyCUDA's errors (out of memory, a lost GPU) as WorkFailedError."""
    import pycuda.driver as cuda

    try:
        yield
    except cuda.Error as error:
        raise WorkFailedError(f"CUDA cannot be used here: {error}") from error


class TensorRtEngine:
    """See `evaluators.latency.engine.Engine`. Use it in the thread that made it, and `close` it there."""

    def __init__(
        self, library: Library, plan: Path, record: EngineRecord, pacing: Pacing | None = None
    ) -> None:
        """Raises WorkFailedError when the GPU, the driver or TensorRT refuses."""
        self._record, self._pacing = record, pacing or Pacing()
        self._gpu_seconds = 0.0
        with contextlib.ExitStack() as stack, _cuda_errors():
            self._open(library, plan, stack)
            self._resources = stack.pop_all()

    def _open(self, library: Library, plan: Path, stack: contextlib.ExitStack) -> None:
        import pycuda.driver as cuda

        self._cuda = cuda
        cuda.init()
        # TensorRT uses the CUDA runtime, whose context is the primary one.
        self._context = cuda.Device(0).retain_primary_context()
        self._context.push()
        stack.callback(self._leave_context)
        self._stream = cuda.Stream()
        self._start, self._end = cuda.Event(), cuda.Event()
        trt = library.module
        self._logger = make_logger(trt)  # must outlive the runtime
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if self._engine is None:
            raise WorkFailedError(f"TensorRT cannot open the engine: {self._logger.text()}")
        self._execution = self._engine.create_execution_context()
        if self._execution is None:
            raise WorkFailedError(f"TensorRT cannot make room for the engine: {self._logger.text()}")
        self._make_buffers(trt)
        # Internal state is set up by one pass; only then may a graph be captured (TensorRT developer guide).
        self._enqueue_or_fail()
        self._stream.synchronize()
        self._graph = CudaGraph(self._stream.handle, self._enqueue)
        stack.callback(self._graph.close)
        self._flushed: Any = None
        if self._pacing.flush_l2:
            attribute = cuda.device_attribute.L2_CACHE_SIZE
            self._flushed_bytes = 2 * cuda.Device(0).get_attribute(attribute)
            self._flushed = cuda.mem_alloc(self._flushed_bytes)

    def _make_buffers(self, trt: Any) -> None:
        """Page-locked memory of the host and memory of the device for every input and output, float32."""
        self._host: dict[str, Any] = {}
        self._device: dict[str, Any] = {}
        for name in (_INPUT, *_OUTPUTS):
            number = self._engine.get_tensor_dtype(name)
            if number != trt.float32:
                raise WorkFailedError(f"{name} of the engine is {number}, not float32")
            shape = tuple(self._engine.get_tensor_shape(name))
            self._host[name] = self._cuda.pagelocked_zeros(shape, np.float32)
            self._device[name] = self._cuda.mem_alloc(self._host[name].nbytes)
            if not self._execution.set_tensor_address(name, int(self._device[name])):
                raise WorkFailedError(f"TensorRT does not take the buffer of {name}: {self._logger.text()}")
        self._cuda.memcpy_htod_async(self._device[_INPUT], self._host[_INPUT], self._stream)

    @property
    def batch(self) -> int:
        return int(self._host[_INPUT].shape[0])

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds the GPU spent in passes."""
        return lambda: self._gpu_seconds

    @property
    def environment(self) -> Mapping[str, Any]:
        return {
            "threads": 1,
            "gpu": describe_gpu(),
            "engine": self._record.to_dict(),
            "pacing": {"flush_l2": self._pacing.flush_l2, "gap_s": self._pacing.gap_s},
            "cuda_graph": True,
        }

    def state(self) -> Mapping[str, Any]:
        return gpu_state()

    @_cuda_errors()
    def infer(self, images: Floats) -> tuple[Floats, Floats]:
        self.load(images)
        self._graph.launch(self._stream.handle)
        for name in _OUTPUTS:
            self._cuda.memcpy_dtoh_async(self._host[name], self._device[name], self._stream)
        self._stream.synchronize()
        boxes, scores = (self._host[name].copy() for name in _OUTPUTS)
        return boxes, scores

    @_cuda_errors()
    def load(self, images: Floats) -> None:
        expected = self._host[_INPUT].shape
        if images.shape != expected:
            raise ValueError(f"images have shape {images.shape}; this engine was built for {expected}")
        np.copyto(self._host[_INPUT], images)
        self._cuda.memcpy_htod_async(self._device[_INPUT], self._host[_INPUT], self._stream)
        self._stream.synchronize()

    @_cuda_errors()
    def run(self) -> None:
        if self._flushed is not None:
            self._cuda.memset_d8_async(self._flushed, 0, self._flushed_bytes, self._stream)
        self._start.record(self._stream)
        self._graph.launch(self._stream.handle)
        self._end.record(self._stream)
        self._end.synchronize()
        self._gpu_seconds += self._start.time_till(self._end) * 1e-3
        if self._pacing.gap_s:
            time.sleep(self._pacing.gap_s)

    def runtime_precisions(self) -> Counter[str]:
        names = {"int8": "i8", "fp16": "f16", "fp32": "f32", "bf16": "bf16"}
        real = (self._record.precisions or {}).get("real", {})
        return Counter({f"Convolution {names.get(kind, kind)}": count for kind, count in real.items()})

    def close(self) -> None:
        """Free everything; the context of the thread is as it was."""
        self._resources.close()

    def _enqueue(self) -> bool:
        return bool(self._execution.execute_async_v3(self._stream.handle))

    def _enqueue_or_fail(self) -> None:
        if not self._enqueue():
            raise WorkFailedError(f"TensorRT does not run the engine: {self._logger.text()}")

    def _leave_context(self) -> None:
        """Free what lives in the context while it is current, in the order that TensorRT asks for, then leave."""
        for name in ("_execution", "_engine", "_runtime", "_device", "_host", "_flushed"):
            self.__dict__.pop(name, None)
        self.__dict__.pop("_start", None)
        self.__dict__.pop("_end", None)
        self.__dict__.pop("_stream", None)
        self._context.pop()


@contextlib.contextmanager
def open_tensorrt(
    folder: Path, onnx: Path, onnx_sha256: str, pacing: Pacing | None
) -> Iterator[TensorRtEngine]:
    """Build in a process of its own (or take from the cache), then open here; gone when the block ends.

    Args:
        folder: of the artefact, from which the other process builds.
    """
    from evaluators.tensorrt.build import BuildOptions
    from evaluators.tensorrt.compile_check import compile_artefact
    from evaluators.tensorrt.engines import engine_of
    from evaluators.tensorrt.library import TENSORRT, find_library

    compile_artefact(folder, capability=None, library=TENSORRT)
    library = find_library(TENSORRT)
    with engine_of(library, onnx, onnx_sha256, BuildOptions()) as (plan, record):
        engine = TensorRtEngine(library, plan, record, pacing)
        try:
            yield engine
        finally:
            engine.close()
