"""The live view of a running search: a panel on a terminal, plain lines elsewhere; always standard error."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from storage.front import best_feasible
from storage.states import TrialState

if TYPE_CHECKING:
    from rich.console import RenderableType

    from storage.records import TrialRecord

_PLAIN_PROGRESS_EVERY_S = 20.0
_EVENTS_SHOWN = 8


class SearchView:
    """Shows the best feasible candidate so far, trials by state, the time left and what trains now.

    Args:
        trials: reads the trials of the study.
        left: seconds left, infinite without a limit.
        quiet: show nothing (tests, scripts).
    """

    def __init__(
        self,
        title: str,
        target_ms: float,
        trials: Callable[[], list[TrialRecord]],
        left: Callable[[], float],
        *,
        quiet: bool = False,
    ) -> None:
        from rich.console import Console

        self._title = title
        self._target_ms = target_ms
        self._trials = trials
        self._left = left
        self._console = Console(stderr=True, quiet=quiet)
        self._events: deque[str] = deque(maxlen=_EVENTS_SHOWN)
        self._now: tuple[TrialRecord, Mapping[str, Any]] | None = None
        self._last_plain = 0.0
        self._live: Any = None

    def __enter__(self) -> SearchView:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(
                console=self._console, get_renderable=self._panel, refresh_per_second=2, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def event(self, message: str) -> None:
        """Say that something happened."""
        self._events.append(message)
        self._now = None
        if self._live is None:
            self._plain(message)
        else:
            self._live.console.print(message, markup=False, highlight=False)

    def training(self, trial: TrialRecord, progress: Mapping[str, Any]) -> None:
        """Show how far the training of a candidate is."""
        self._now = (trial, progress)
        due = time.monotonic() - self._last_plain > _PLAIN_PROGRESS_EVERY_S
        if self._live is None and (due or _all_steps(progress)):
            self._plain(self._training_line())

    def _plain(self, message: str) -> None:
        self._last_plain = time.monotonic()
        self._console.print(f"[{self._left_text()}] {message}", markup=False, highlight=False, soft_wrap=True)

    def _left_text(self) -> str:
        left = self._left()
        return "no time limit" if left == float("inf") else f"{int(left) // 60}:{int(left) % 60:02d} left"

    def _training_line(self) -> str:
        if self._now is None:
            return "measuring latency"
        trial, progress = self._now
        if _all_steps(progress):
            return f"training {trial.number} {trial.title}: done, now built, measured and judged"
        phase = f"{progress['phase']}: " if progress.get("phase") else ""
        return (
            f"training {trial.number} {trial.title}: {phase}epoch {progress['epoch']}/{progress['epochs']}, "
            f"loss {progress['loss']:.2f}, {progress['images_per_second']:.0f} images/s"
        )

    def _panel(self) -> RenderableType:
        from rich.panel import Panel
        from rich.text import Text

        trials = self._trials()
        counts = {state: sum(trial.state is state for trial in trials) for state in TrialState}
        best = best_feasible(trials)
        lines = [
            f"best within {self._target_ms:g} ms: " + (_best_text(best) if best else "none yet"),
            "  ".join(f"{state}: {count}" for state, count in counts.items()),
            self._training_line(),
        ]
        return Panel(
            Text("\n".join(lines)), title=self._title, subtitle=self._left_text(), title_align="left"
        )


def _all_steps(progress: Mapping[str, Any]) -> bool:
    """Whether nothing more will be heard of the training of the network itself."""
    return bool(not progress.get("phase") and progress["step"] == progress["steps"])


def _best_text(trial: TrialRecord) -> str:
    latency = trial.final_latency
    assert trial.deployed is not None and latency is not None
    ap = trial.deployed.ap
    how = " estimated" if latency.estimated else ""
    return (
        f"AP {'undefined' if ap is None else f'{ap:.3f}'}, {latency.ms:.2f} ms{how} "
        f"(trial {trial.number}, {trial.title})"
    )
