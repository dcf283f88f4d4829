"""Whether a run still learns: notices a loss that runs away before it stops being a number."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search.training.options import TrainingDiverged

WINDOW = 20  # steps
UNTRAINED_LOSS = 5.0  # about what the weighted sum is for a network that knows nothing
DIVERGED_FACTOR = 3.0


@dataclass(slots=True)
class LossWatch:
    """Follows the loss of every step.

    A run has diverged when the mean of its last `WINDOW` steps is more than `DIVERGED_FACTOR` times that of the
    first ones, or of a network that knows nothing if that is more. Slow or noisy runs never get there.
    """

    recent: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    first: float | None = None

    @property
    def limit(self) -> float:
        """Mean loss above which a run has diverged; infinite before the first window is full."""
        return float("inf") if self.first is None else DIVERGED_FACTOR * max(self.first, UNTRAINED_LOSS)

    @property
    def calm(self) -> bool:
        """Whether the state of the run is good to come back to."""
        return not self.recent or self._mean <= self.limit / 2

    @property
    def _mean(self) -> float:
        return sum(self.recent) / len(self.recent)

    def see(self, step: int, parts: Mapping[str, float]) -> None:
        """Take note of a step. Raises TrainingDiverged."""
        self.recent.append(sum(parts.values()))
        if len(self.recent) < WINDOW:
            return
        if self.first is None:
            self.first = self._mean
        if self._mean > self.limit:
            raise TrainingDiverged(
                f"the loss runs away: {self._mean:.3g} over {WINDOW} steps at step {step + 1}, "
                f"{self.first:.3g} at the start"
            )

    def state(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {"recent": list(self.recent), "first": self.first}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self.recent.extend(state["recent"])
        self.first = state["first"]
