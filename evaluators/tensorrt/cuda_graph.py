"""CUDA graphs through the driver's C interface; PyCUDA has none.

Signatures as in cuda.h (docs.nvidia.com/cuda/cuda-driver-api, "Graph Management" and "Stream Management"). A graph is
one launch for all kernels of a pass, so the time of the host between two kernels is not in a latency.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from foundation.errors import WorkFailedError

_CAPTURE_MODE_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may use CUDA meanwhile
_HANDLE = ctypes.c_void_p
_SIGNATURES: dict[str, list[Any]] = {
    "cuStreamBeginCapture_v2": [_HANDLE, ctypes.c_int],
    "cuStreamEndCapture": [_HANDLE, ctypes.POINTER(_HANDLE)],
    "cuGraphInstantiateWithFlags": [ctypes.POINTER(_HANDLE), _HANDLE, ctypes.c_ulonglong],
    "cuGraphLaunch": [_HANDLE, _HANDLE],
    "cuGraphExecDestroy": [_HANDLE],
    "cuGraphDestroy": [_HANDLE],
    "cuGetErrorName": [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)],
}


class CudaGraph:
    """What was enqueued on a stream while it was captured, as one launch."""

    def __init__(self, stream: int, enqueue: Callable[[], bool]) -> None:
        """Capture `enqueue` on the stream (its `CUstream` handle) of the current context.

        Raises:
            WorkFailedError: the driver refuses; names its error.
        """
        graph = _HANDLE()
        self._executable = _HANDLE()
        _call("cuStreamBeginCapture_v2", stream, _CAPTURE_MODE_THREAD_LOCAL)
        enqueued = False
        try:
            enqueued = enqueue()
        finally:
            _call("cuStreamEndCapture", stream, ctypes.byref(graph))  # also ends a capture that failed
        try:
            if not enqueued:
                raise WorkFailedError("TensorRT did not enqueue the engine while its CUDA graph was captured")
            _call("cuGraphInstantiateWithFlags", ctypes.byref(self._executable), graph, 0)
        finally:
            _call("cuGraphDestroy", graph)

    def launch(self, stream: int) -> None:
        """Enqueue the graph on the stream; returns at once."""
        _call("cuGraphLaunch", self._executable, stream)

    def close(self) -> None:
        """Free it; its context must be current."""
        if self._executable:
            _call("cuGraphExecDestroy", self._executable)
            self._executable = _HANDLE()


@cache
def _driver() -> ctypes.CDLL:
    driver = ctypes.CDLL("libcuda.so.1")
    for name, arguments in _SIGNATURES.items():
        function = getattr(driver, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    return driver


def _call(name: str, *arguments: Any) -> None:
    code = getattr(_driver(), name)(*arguments)
    if code:
        text = ctypes.c_char_p()
        _driver().cuGetErrorName(code, ctypes.byref(text))
        raise WorkFailedError(f"{name}: {(text.value or b'unknown error').decode()} ({code})")
