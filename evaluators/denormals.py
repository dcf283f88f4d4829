"""Denormal numbers: whether this thread's CPU flushes them to zero.

Networks whose activations are denormal run 3 to 60 times slower, which says nothing about a trained network.
The setting belongs to a thread, and OpenVINO leaves it changed in the thread that compiles a network.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def flushes_denormals() -> bool:
    """Whether denormal float32 numbers count as 0 in this thread."""
    return bool(np.float32(1e-40) * np.float32(1.0) == 0.0)


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Flush denormals in this thread; afterwards it is as it was."""
    import torch

    was_flushing = flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_flushing)
