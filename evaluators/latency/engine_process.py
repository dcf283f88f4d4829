"""An engine in a process of its own: what it cannot do to us is crash, hang, or take all memory.

Images and results go through pipes, which costs some milliseconds a pass: for judging AP, never for timing.
"""

import pickle
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import partial
from subprocess import TimeoutExpired
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from evaluators.artefact import Artefact
from evaluators.hardware import Hardware
from evaluators.isolation import (
    Child,
    answer_of,
    become_child,
    death_of,
    end_child,
    kill_child,
    result_of,
    start_child,
)
from evaluators.latency.isolated import COMPILE_S, hardware_from
from foundation.errors import WorkFailedError

IMAGE_S = 60.0  # allowed for every image of a pass: the largest network on one slow core takes some seconds
_CLOSING_S = 10.0
Floats = NDArray[np.float32]


class EngineProcess:
    """`infer` of an engine elsewhere; see `evaluators.accuracy.Engine`."""

    def __init__(self, child: Child, errors: IO[bytes], what: str, opening: Mapping[str, Any]) -> None:
        """Open it; `what` names it in errors."""
        self._child, self._errors, self._what = child, errors, what
        self._batch = int(self._ask("opening", opening, COMPILE_S))

    @property
    def batch(self) -> int:
        return self._batch

    def infer(self, images: Floats) -> tuple[Floats, Floats]:
        """Images (B, 3, H, W) -> boxes (B, A, 4), scores (B, A, C).

        Raises:
            WorkFailedError: the library refused, crashed, ran out of memory or hung; says which.
        """
        boxes, scores = self._ask("a pass", images, IMAGE_S * self._batch)
        return boxes, scores

    def _ask(self, doing: str, question: Any, limit_s: float) -> Any:
        assert self._child.stdin is not None and self._child.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            kill_child(self._child)

        watchdog = threading.Timer(limit_s, give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            pickle.dump(question, self._child.stdin, protocol=5)
            self._child.stdin.flush()
            answer = pickle.load(self._child.stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            if late.is_set():
                raise WorkFailedError(f"{self._what} hung: {doing} took over {limit_s:g} s") from None
            raise WorkFailedError(f"{self._what} {death_of(self._child, self._errors)}") from None
        finally:
            watchdog.cancel()
        return result_of(answer)


@contextmanager
def open_engine_process(
    artefact: Artefact, hardware: Hardware, threads: int | None = None
) -> Iterator[EngineProcess]:
    """`open_engine` in a new process, which ends with the block.

    Raises:
        UserError: as of `open_engine`.
        WorkFailedError: the library refused, crashed, ran out of memory, or hung.
    """
    opening = {
        "folder": str(artefact.folder.resolve()),
        "hardware": asdict(hardware),
        "threads": threads,
    }
    with tempfile.TemporaryFile() as errors:
        child = start_child(__name__, errors)
        try:
            yield EngineProcess(child, errors, f"{hardware.backend} on {hardware.device}", opening)
            _let_go(child)
        finally:
            end_child(child)


def _let_go(child: Child) -> None:
    """Let it close its engine and tidy up, for a moment."""
    assert child.stdin is not None
    with suppress(OSError, TimeoutExpired):
        child.stdin.close()
        child.wait(timeout=_CLOSING_S)


def _serve() -> None:
    """The child: open the engine, then answer images with results until nobody asks."""
    answers = become_child()
    opening = pickle.load(sys.stdin.buffer)
    engine: Any = None

    def answer(what: str, call: Callable[[], Any]) -> bool:
        told = answer_of(what, call)
        pickle.dump(told, answers, protocol=5)
        answers.flush()
        return "error" not in told

    with ExitStack() as stack:

        def opened() -> int:
            nonlocal engine
            from evaluators.artefact import load_artefact
            from evaluators.latency.engine import open_engine

            hardware = hardware_from(opening["hardware"])
            artefact = load_artefact(opening["folder"])
            engine = stack.enter_context(open_engine(artefact, hardware, opening["threads"]))
            return int(engine.batch)

        going = answer("opening the engine", opened)
        while going:
            try:
                images = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            going = answer("a pass", partial(engine.infer, images))


if __name__ == "__main__":
    _serve()
