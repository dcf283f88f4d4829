"""An artefact behind any back end by its name: `pytorch`, or whatever `resolve_hardware` knows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from evaluators.accuracy.detect import Engine
from evaluators.artefact import Artefact
from foundation.errors import UserError

PYTORCH = "pytorch"  # the network the artefact was made from, float32, on the CPU


@dataclass(frozen=True, slots=True)
class Backend:
    """What will run: `name` as resolved, the library behind it, and one line for a person."""

    name: str
    backend: str
    reason: str


def resolve_backend(name: str) -> Backend:
    """The back end of this name.

    Raises:
        UserError: unknown, not on this machine, or a device whose latencies are only estimated.
    """
    from evaluators.hardware import resolve_hardware

    if name == PYTORCH:
        return Backend(
            PYTORCH, PYTORCH, "using the PyTorch network the artefact was made from (float32, CPU)"
        )
    hardware = resolve_hardware(name)
    if hardware.estimated:
        raise UserError(
            f"hardware {name!r} is not here, and AP is never estimated; use cpu, or {PYTORCH} for the network "
            "the artefact was made from"
        )
    return Backend(hardware.name, hardware.backend, hardware.reason)


@contextmanager
def open_backend(artefact: Artefact, name: str) -> Iterator[Engine]:
    """An engine for the artefact; gone when the block ends.

    Raises:
        UserError: as of `resolve_backend` and `open_engine`.
    """
    if resolve_backend(name).backend == PYTORCH:
        from evaluators.accuracy.torch_engine import torch_engine_of

        yield torch_engine_of(artefact)
        return
    from evaluators.latency import open_engine, resolve_hardware

    with open_engine(artefact, resolve_hardware(name)) as engine:
        yield engine
