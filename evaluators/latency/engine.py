"""What an engine is, and how to open one for an artefact."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluators.artefact import Artefact
from evaluators.buildable import float_format_of
from evaluators.denormals import denormals_flushed
from evaluators.hardware import Hardware, check_precision, float_format
from foundation.cli import progress
from foundation.errors import UserError

Floats = NDArray[np.float32]


class Engine(Protocol):
    """A compiled network on a device."""

    @property
    def batch(self) -> int:
        """Images per pass."""
        ...

    @property
    def environment(self) -> Mapping[str, Any]:
        """Options that decide the latency, as the engine reports them; plain JSON values."""
        ...

    @property
    def clock(self) -> Callable[[], float]:
        """What times a pass, in seconds: the difference around `run`. A GPU brings the clock of its events."""
        ...

    def state(self) -> Mapping[str, Any]:
        """What of the device changes during a run, such as clocks and throttle reasons; empty for a CPU."""
        ...

    def infer(self, images: Floats) -> tuple[Floats, Floats]:
        """Images B,3,H,W (RGB, 0..1) to boxes B,A,4 (x1, y1, x2, y2, pixels) and scores B,A,C; new arrays.

        Raises:
            ValueError: the shape of `images` is not the one the engine was built for.
        """
        ...

    def load(self, images: Floats) -> None:
        """Put the input in place for `run`."""
        ...

    def run(self) -> None:
        """One pass over the loaded input, finished on return: what a latency is the time of."""
        ...

    def runtime_precisions(self) -> Counter[str]:
        """Layers by kind and number format they really run in, such as `{"Convolution i8": 56}`.

        Read back from the compiled network, because an engine is free to ignore Q/DQ nodes.
        """
        ...


@contextmanager
def open_engine(artefact: Artefact, hardware: Hardware, threads: int | None = None) -> Iterator[Engine]:
    """Compile the artefact for the device; the engine is gone when the block ends.

    Args:
        threads: of the engine; None means one per physical core.

    Raises:
        UserError: the device is not here or cannot run the precision of the artefact, or `threads` is
            impossible.
    """
    if hardware.estimated:
        raise UserError(
            f"{hardware.device} is not here, so nothing can run on it: its latencies are estimated, and AP is "
            "judged with --hardware cpu"
        )
    check_precision(artefact.meta.precision, hardware)
    _check_float_format(artefact, hardware)
    _warn_of_overflow(artefact, hardware)
    with denormals_flushed(), ENGINES[hardware.backend](artefact, hardware, threads) as engine:
        yield engine


@contextmanager
def _openvino(artefact: Artefact, hardware: Hardware, threads: int | None) -> Iterator[Engine]:
    from evaluators.latency.openvino_engine import OpenVinoEngine

    with closing(OpenVinoEngine(artefact, hardware.device, threads)) as engine:
        yield engine


@contextmanager
def _onnxruntime(artefact: Artefact, hardware: Hardware, threads: int | None) -> Iterator[Engine]:
    from evaluators.devices import provider_device
    from evaluators.latency.onnxruntime_engine import OnnxRuntimeEngine

    with closing(OnnxRuntimeEngine(artefact, provider_device(hardware), threads)) as engine:
        yield engine


@contextmanager
def _tensorrt(artefact: Artefact, hardware: Hardware, threads: int | None) -> Iterator[Engine]:
    from evaluators.tensorrt.runtime import open_tensorrt

    with open_tensorrt(artefact.folder, artefact.onnx, artefact.meta.onnx_sha256, hardware.pacing) as engine:
        yield engine


# How an artefact becomes an engine, by back end.
ENGINES: Mapping[str, Callable[[Artefact, Hardware, int | None], AbstractContextManager[Engine]]] = {
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
    "tensorrt": _tensorrt,
}


def _warn_of_overflow(artefact: Artefact, hardware: Hardware) -> None:
    """Latency is that of the network all the same; what it detects is not."""
    from evaluators.devices import overflows_int8

    meta = artefact.meta
    if meta.precision == "int8" and meta.trained and not meta.half_weights and overflows_int8(hardware):
        progress(
            f"{artefact.folder}: quantized for a processor with VNNI, and this one has none: its int8 sums overflow "
            "and it detects little; quantize it again here (python -m search.qat FOLDER --data DIR)"
        )


def _check_float_format(artefact: Artefact, hardware: Hardware) -> None:
    """An int8 graph of another back end would run, but its float layers in a format nobody asked for there."""
    needed = float_format_of(artefact.candidate.precision, float_format(hardware))
    if artefact.meta.float_format != needed:
        raise UserError(
            f"{artefact.folder}: its float layers are {artefact.meta.float_format}, and {hardware.name} "
            f"({hardware.backend}) needs {needed}; build the artefact for that device"
        )
