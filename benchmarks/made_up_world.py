"""Worlds in which an evaluation costs nothing: real candidates, made-up AP, latencies by rule or by estimate.

AP saturates in FLOPs, and some choices are better than others. Used by search_sampler.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from evaluators.estimate.case import Case
from evaluators.estimate.t4 import estimate_t4
from search.driver import fixed_trials
from search.sampler import DEFAULT_SAMPLER
from search.samplers.acquisition import hypervolume
from search.study import Known, Question, propose
from yolov6space.candidate import Candidate
from yolov6space.cost import cost
from yolov6space.space import Space

CLASSES = 3
TARGET_MS = 8.8


@dataclass(frozen=True)
class World:
    """A device with images.

    Attributes:
        precisions: that the space offers and the official variants have.
        most_ap, half_gflops: AP that FLOPs alone lead to, and the GFLOPs that lead to half of it.
        foretold: whether latencies are known beforehand, as estimates of a device are; else they are learnt.
    """

    precisions: tuple[str, ...]
    image_size: int
    most_ap: float
    half_gflops: float
    latency_ms: Callable[[Candidate], float]
    foretold: bool

    @property
    def space(self) -> Space:
        """The default one in these precisions."""
        told = Space.default().to_dict()
        return Space.from_dict(
            {**told, "dimensions": {**told["dimensions"], "precision": list(self.precisions)}}
        )

    @property
    def official(self) -> list[Candidate]:
        """The official variants in these precisions."""
        return [candidate for _, candidate in fixed_trials(self.precisions)]

    def answer(self, candidate: Candidate, *, trained_up_to: float = TARGET_MS) -> Known:
        """What an evaluation shows; no AP of what is slower than `trained_up_to` milliseconds."""
        model, latency = candidate.model, self.latency_ms(candidate)
        gflops = _gflops(candidate, self.image_size)
        liking = 0.02 * (model.activation == "silu") + 0.015 * (model.reg_max > 0)
        liking += 0.02 * sum(stage.repeats for stage in model.backbone) / 20
        liking -= 0.01 * (candidate.precision.kind == "int8") + 0.01 * (candidate.recipe.box_loss == "ciou")
        ap = self.most_ap * gflops / (gflops + self.half_gflops) + liking
        return Known(candidate, latency, ap if latency <= trained_up_to else None)

    def search(self, asks: int, seed: int, known: Sequence[Known] = ()) -> tuple[list[Known], int, int]:
        """`asks` questions; what is known after them, how many were invalid, how many repeated."""
        space = self.space
        told, taken = list(known), {one.candidate.key for one in known if not one.older}
        question = Question(
            target_ms=TARGET_MS,
            sampler=DEFAULT_SAMPLER,
            seed=seed,
            num_classes=CLASSES,
            image_size=self.image_size,
            estimate=self.latency_ms if self.foretold else None,
        )
        invalid = repeated = 0
        for _ in range(asks):
            proposal = propose(space, told, taken, question)
            assert proposal is not None
            invalid += proposal.candidate not in space
            repeated += proposal.candidate.key in taken
            taken.add(proposal.candidate.key)
            told.append(self.answer(proposal.candidate))
        return told, invalid, repeated


def area(known: Sequence[Known]) -> float:
    """Hypervolume against (0, limit) of what was evaluated here within the limit."""
    good = [one for one in known if one.ap is not None and not one.older]
    ap = np.array([one.ap for one in good], dtype=float)
    latency = np.array([one.latency_ms for one in good], dtype=float)
    return hypervolume(ap, latency, TARGET_MS, 0.0)


def _gflops(candidate: Candidate, image_size: int) -> float:
    return cost(candidate.model, num_classes=CLASSES, image_size=image_size).flops / 1e9


def _by_flops(candidate: Candidate) -> float:
    return 1.0 + _gflops(candidate, 320) * (1.5 if candidate.precision.kind == "int8" else 4.5)


@lru_cache(maxsize=100_000)
def _estimated(candidate: Candidate) -> float:
    model = replace(candidate.model, conv="plain")
    case = Case(model=model, precision=candidate.precision, image_size=640, num_classes=CLASSES)
    return estimate_t4(case).value_ms


CPU = World(("fp32", "int8"), 320, 0.6, 0.8, _by_flops, foretold=False)
"""Latency is a line in FLOPs by precision; one official variant is within the limit."""
T4 = World(("fp16", "int8"), 640, 0.55, 5.8, _estimated, foretold=True)
"""Latencies are the T4 estimates; eleven of twelve official variants are within the limit."""
