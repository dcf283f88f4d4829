"""Which candidates to measure for a calibration: those that tell most about the constants of the time model."""

import random
from collections.abc import Sequence

import numpy as np

from evaluators.estimate.case import Case
from evaluators.estimate.fit import TimeModel, prior_of
from evaluators.hardware import Hardware, usual_precisions
from yolov6space.candidate import Candidate
from yolov6space.space import Space

POOL = 400  # random candidates to choose from


def space_of(name: str | None, hardware: Hardware) -> Space:
    """The space asked for, or the default one in the precisions that a search on this device starts with."""
    space = Space.load(name or "default")
    precisions = list(usual_precisions(hardware))
    described = space.to_dict()
    if name is not None or described["dimensions"]["precision"] == precisions:
        return space
    return Space.from_dict({**described, "dimensions": {**described["dimensions"], "precision": precisions}})


def pool_of(space: Space, precisions: Sequence[str], seed: int) -> list[Candidate]:
    """Random candidates of the space in the given kinds of precision, all different."""
    rng = random.Random(seed)
    found: dict[str, Candidate] = {}
    for _ in range(20 * POOL):
        candidate = space.sample(rng)
        if candidate.precision.kind in precisions:
            found.setdefault(candidate.key, candidate)
        if len(found) == POOL:
            break
    return list(found.values())


def most_telling(model: TimeModel, cases: Sequence[Case], count: int, *, noise: float = 0.03) -> list[int]:
    """Indices of `count` cases, chosen one after the other where the model is least sure (D-optimal design).

    Before any latency is known the doubt is that of the priors; every chosen case takes away the part that its
    latency, known to `noise`, would settle.
    """
    prior = prior_of(model)
    gradients = np.array([prior.slopes(case) for case in cases])
    covariance = prior.covariance.copy()
    chosen: list[int] = []
    for _ in range(min(count, len(cases))):
        doubt = np.einsum("cp,pq,cq->c", gradients, covariance, gradients)
        doubt[chosen] = -1.0
        best = int(np.argmax(doubt))
        chosen.append(best)
        told = covariance @ gradients[best]
        covariance -= np.outer(told, told) / (noise**2 + float(gradients[best] @ told))
    return chosen
