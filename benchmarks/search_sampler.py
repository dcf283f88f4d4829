"""The sampler in the real space, with outcomes that are functions of a network's cost.

    python benchmarks/search_sampler.py [--asks 300] [--seeds 3] [--many 2000]

Prints invalid and repeated asks in a row of many, what a warm start from the official variants gives after 25
evaluations beside what a cold start gives after 50, and the seconds of one ask by the number of trials.
"""

import argparse
import time
from collections.abc import Sequence

from search.driver import fixed_trials
from search.samplers.acquisition import hypervolume
from search.study import Known, Question, propose
from yolov6space.candidate import Candidate
from yolov6space.cost import cost
from yolov6space.space import Space

TARGET_MS, SIZE, CLASSES = 8.8, 320, 3


def answer(candidate: Candidate) -> Known:
    """Latency by FLOPs and precision; AP saturates in size, and some choices are better than others."""
    gflops = cost(candidate.model, num_classes=CLASSES, image_size=SIZE).flops / 1e9
    latency = 1.0 + gflops * (1.5 if candidate.precision.kind == "int8" else 4.5)
    model = candidate.model
    liking = 0.02 * (model.activation == "silu") + 0.015 * (model.reg_max > 0)
    liking += 0.02 * sum(stage.repeats for stage in model.backbone) / 20
    liking -= 0.01 * (candidate.precision.kind == "int8") + 0.01 * (candidate.recipe.box_loss == "ciou")
    ap = 0.6 * gflops / (gflops + 0.8) + liking
    return Known(candidate, latency, ap if latency <= TARGET_MS else None)


def search(asks: int, seed: int, known: Sequence[Known] = ()) -> tuple[list[Known], int, int]:
    """`asks` questions; what came of them, how many were invalid, how many repeated."""
    space = Space.default()
    told, taken = list(known), {one.candidate.key for one in known}
    question = Question(
        target_ms=TARGET_MS, sampler="latency-aware", seed=seed, num_classes=CLASSES, image_size=SIZE
    )
    invalid = repeated = 0
    for _ in range(asks):
        proposal = propose(space, told, taken, question)
        assert proposal is not None
        invalid += proposal.candidate not in space
        repeated += proposal.candidate.key in taken
        taken.add(proposal.candidate.key)
        told.append(answer(proposal.candidate))
    return told, invalid, repeated


def area(known: Sequence[Known]) -> tuple[float, float]:
    """Hypervolume against (0, limit) and the best AP, of what is within the limit."""
    import numpy as np

    good = [one for one in known if one.ap is not None]
    ap = np.array([one.ap for one in good], dtype=float)
    latency = np.array([one.latency_ms for one in good], dtype=float)
    return hypervolume(ap, latency, TARGET_MS, 0.0), float(ap.max())


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asks", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--many", type=int, default=2000, help="trials of the last timing")
    options = parser.parse_args()
    official = [answer(candidate) for _, candidate in fixed_trials()]
    for seed in range(options.seeds):
        warm, _, _ = search(25, seed, official)
        cold, _, _ = search(50, seed)
        print(
            f"seed {seed}: warm start after 25: area %.4f, best %.4f; cold start after 50: area %.4f, best %.4f"
            % (*area(warm), *area(cold))
        )
    told, invalid, repeated = search(options.asks, 0)
    over = sum(one.ap is None for one in told)
    print(f"{options.asks} asks in a row: {invalid} invalid, {repeated} repeated, {over} over the limit")
    import random

    rng = random.Random(0)
    while len(told) < options.many:
        told.append(answer(Space.default().sample(rng)))
    for count in sorted({min(count, options.many) for count in (100, 300, 1000, options.many)}):
        known = told[:count]
        start = time.process_time()
        search(1, 1, known)
        print(f"one ask at {count} trials: {time.process_time() - start:.2f} s of one core")


if __name__ == "__main__":
    main()
