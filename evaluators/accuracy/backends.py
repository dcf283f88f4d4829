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


def precision_judged(artefact: Artefact, backend: Backend) -> str:
    """Number format of the network that this back end runs for the artefact."""
    return "fp32" if backend.backend == PYTORCH else artefact.meta.precision


def caveat(artefact: Artefact, backend: Backend) -> str | None:
    """One line where the figures are those of another network than the artefact's; None where they are its own."""
    precision = precision_judged(artefact, backend)
    if precision == artefact.meta.precision:
        return None
    return (
        f"not the AP of the {artefact.meta.precision} artefact: {backend.name} runs the {precision} network it was "
        "made from (--hardware auto judges the artefact)"
    )


@contextmanager
def open_backend(artefact: Artefact, name: str) -> Iterator[Engine]:
    """An engine for the artefact, in a process of its own unless it is PyTorch; gone when the block ends.

    Raises:
        UserError: as of `resolve_backend` and `open_engine`.
        WorkFailedError: the library behind it refused, crashed, ran out of memory, or hung.
    """
    if resolve_backend(name).backend == PYTORCH:
        from evaluators.accuracy.torch_engine import torch_engine_of

        yield torch_engine_of(artefact)
        return
    from evaluators.hardware import resolve_hardware
    from evaluators.latency.engine_process import open_engine_process

    with open_engine_process(artefact, resolve_hardware(name)) as engine:
        yield engine
