"""What the official variants save where nearly all are within the limit: a T4 by estimates, with made-up AP.

    python benchmarks/warm_start_t4.py [--seeds 4]

640 pixels, three classes, 8.8 ms, fp16 and int8; latencies are the T4 estimates and known exactly, AP saturates in
FLOPs, and some choices are better than others. Prints the hypervolume against (0, limit) of the twelve variants
alone, of a search that knows them after 25 questions, and of one from nothing after 25 and 50. One core, half a minute
per seed.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
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

LIMIT_MS, SIZE, CLASSES = 8.8, 640, 3
PRECISIONS = ("fp16", "int8")


@lru_cache(maxsize=100_000)
def latency_ms(candidate: Candidate) -> float:
    """The estimate for a T4."""
    model = replace(candidate.model, conv="plain")
    case = Case(model=model, precision=candidate.precision, image_size=SIZE, num_classes=CLASSES)
    return estimate_t4(case).value_ms


def answer(candidate: Candidate) -> Known:
    """What an evaluation would show."""
    model, latency = candidate.model, latency_ms(candidate)
    gflops = cost(model, num_classes=CLASSES, image_size=SIZE).flops / 1e9
    ap = 0.55 * gflops / (gflops + 5.8) + 0.02 * sum(stage.repeats for stage in model.backbone) / 20
    ap += 0.02 * (model.activation == "silu") + 0.015 * (model.reg_max > 0)
    ap -= 0.01 * (candidate.precision.kind == "int8") + 0.01 * (candidate.recipe.box_loss == "ciou")
    return Known(candidate, latency, ap if latency <= LIMIT_MS else None)


def search(space: Space, asks: int, seed: int, known: Sequence[Known] = ()) -> list[Known]:
    """What is known after so many questions."""
    told, taken = list(known), {one.candidate.key for one in known}
    question = Question(
        target_ms=LIMIT_MS,
        sampler=DEFAULT_SAMPLER,
        seed=seed,
        num_classes=CLASSES,
        image_size=SIZE,
        estimate=latency_ms,
    )
    for _ in range(asks):
        proposal = propose(space, told, taken, question)
        assert proposal is not None
        taken.add(proposal.candidate.key)
        told.append(answer(proposal.candidate))
    return told


def area(known: Sequence[Known]) -> float:
    """Hypervolume against (0, limit)."""
    good = [(one.ap, one.latency_ms) for one in known if one.ap is not None]
    ap, latency = np.array(good, dtype=float).T
    return hypervolume(ap, latency, LIMIT_MS, 0.0)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=4)
    seeds = parser.parse_args().seeds
    dimensions = {**Space.default().to_dict()["dimensions"], "precision": list(PRECISIONS)}
    space = Space.from_dict({"name": "t4", "dimensions": dimensions})
    official = [answer(candidate) for _, candidate in fixed_trials(PRECISIONS)]
    within = sum(one.ap is not None for one in official)
    print(f"{within} of {len(official)} variants within {LIMIT_MS} ms: hypervolume {area(official):.3f}")
    rows = []
    for seed in range(seeds):
        cold = search(space, 50, seed)
        rows.append((area(search(space, 25, seed, official)), area(cold[:25]), area(cold)))
        print(
            f"seed {seed}: {rows[-1][0]:.3f} warm after 25, {rows[-1][1]:.3f} cold after 25, {rows[-1][2]:.3f} after 50"
        )
    mean, error = np.mean(rows, axis=0), np.std(rows, axis=0) / len(rows) ** 0.5
    print(
        "mean and standard error:", ", ".join(f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True))
    )


if __name__ == "__main__":
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        main()
