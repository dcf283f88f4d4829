"""What a proposal rests on and what it is: values only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yolov6space.candidate import Candidate

if TYPE_CHECKING:
    from evaluators.estimate import Observation
    from search.samplers.values import Focus


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one candidate when the next question is asked.

    Attributes:
        latency_ms: measured or estimated, None while nobody has looked.
        ap: COCO AP of the deployed network after an exploring training, 0..1; None when not trained (over the
            limit) or still running.
        ended: whether nothing more will come of it.
        longer_ap: the same after a longer training, None when there was none.
        older: whether an older study or the paper found it out: its AP is what a cheaper look would show, and the
            candidate may be asked here.
        elsewhere_ms: latency on the older study's device where that is another one.
        ap_error: standard error of `ap` where judging ended after a part of the images; 0 else.
        shared_ap: AP with inherited weights (`shared_rung`), None where nobody looked.
        only_looked_at: whether that is all: it was not chosen for a training.

    Raises:
        ValueError: a latency that is not above 0 and finite, or an AP that is no number.
    """

    candidate: Candidate
    latency_ms: float | None
    ap: float | None
    ended: bool = True
    longer_ap: float | None = None
    older: bool = False
    elsewhere_ms: float | None = None
    ap_error: float = 0.0
    shared_ap: float | None = None
    only_looked_at: bool = False

    def __post_init__(self) -> None:
        for name in ("latency_ms", "elsewhere_ms"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise ValueError(f"{name} is {value}; it must be above 0 and finite")
        for name in ("ap", "longer_ap", "shared_ap"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is {value}; it must be a number, or None where there is none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a proposal depends on besides what is known.

    Attributes:
        num_classes, image_size: what costs are costs of.
        batch: of the passes whose latency is limited.
        estimate: milliseconds that a candidate is judged by where nothing is measured; None where it is.
        calibration: latencies that are known of the device from before.
        look_cost: of a look with inherited weights, as a share of an exploring training; None for no such looks.
        affordable: whether there is time to train a candidate, no other is proposed; None for time enough.
    """

    target_ms: float
    sampler: str
    seed: int
    focus: Focus = "target"
    num_classes: int = 80
    image_size: int = 640
    batch: int = 1
    estimate: Callable[[Candidate], float] | None = None
    calibration: Sequence[Observation] = ()
    look_cost: float | None = None
    affordable: Callable[[Candidate], bool] | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next candidate, and why in one line; `look`: to be looked at with inherited weights, not trained yet."""

    candidate: Candidate
    why: str
    look: bool = False
