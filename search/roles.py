"""What a conductor works with: a policy, and those that judge, check and show; fakes of these test it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from search.samplers.values import Focus
from storage.records import TrialRecord
from yolov6space.candidate import Candidate

if TYPE_CHECKING:
    from evaluators.estimate import Observation


class View(Protocol):
    """What a person sees of the work; every line comes with its trial."""

    def event(self, message: str) -> None:
        """Something happened."""

    def training(self, trial: TrialRecord, progress: Mapping[str, Any]) -> None:
        """A candidate trains."""


class Judge(Protocol):
    """Measures the latency of an untrained candidate; raises JudgementError."""

    def __call__(self, candidate: dict[str, Any]) -> dict[str, Any]:
        """`Measurement.to_dict()` of the candidate."""


class Gate(Protocol):
    """Checks that the device's compiler takes an untrained candidate; raises JudgementError."""

    def __call__(self, candidate: dict[str, Any]) -> bool:
        """True; a candidate that is refused raises."""


class JudgementError(Exception):
    """A candidate could not be judged; the message is one line for its record."""


@dataclass(frozen=True, slots=True)
class SharedRung:
    """Looks at candidates through the shared network.

    Attributes:
        cost: of a look with the measurement before it, as a share of an exploring training.
        look: AP with inherited weights, None where they do not reach as far as the candidate; raises JudgementError.
    """

    cost: float
    look: Callable[[dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a study is to do; values only.

    Attributes:
        epochs: of an exploring training.
        train_images: per epoch.
        trials: stop exploring after this many trained candidates in the study, None for no limit.
        fixed: named candidates that are tried first.
        only_fixed: propose nothing else, and train nothing longer.
        estimated: the device is not here: estimates decide, and nothing is measured.
        calibration: latencies that are known of the device from before.
    """

    target_ms: float
    image_size: int
    num_classes: int
    epochs: int
    train_images: int
    sampler: str
    seed: int
    focus: Focus = "target"
    trials: int | None = None
    fixed: tuple[tuple[str, Candidate], ...] = ()
    only_fixed: bool = False
    estimated: bool = False
    batch: int = 1
    calibration: tuple[Observation, ...] = ()
