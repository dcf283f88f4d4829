"""What an engine is, and how to open one for an artefact."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluators.artefact import Artefact
from evaluators.denormals import denormals_flushed
from evaluators.hardware import Hardware, check_precision

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
        UserError: the device cannot run the precision of the artefact, or `threads` is impossible.
    """
    check_precision(artefact.meta.precision, hardware)
    from evaluators.latency.openvino_engine import OpenVinoEngine

    with denormals_flushed():
        engine = OpenVinoEngine(artefact, hardware.device, threads)
        try:
            yield engine
        finally:
            engine.close()
