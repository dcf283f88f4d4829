"""How good the estimate for a Tesla T4 is on published speeds it was not fitted to, and how fast it is.

Everything is refitted without the speeds that are estimated: once leaving out one case (a network in one
precision, batch and TensorRT generation, with all its reprints), once all cases of a network. Prints the
errors, Kendall's tau, the share of published speeds within their 90 % interval, and estimates per second on
networks drawn from the default space.

    python benchmarks/t4_estimate.py
"""

import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import click
import numpy as np

from evaluators.estimate.case import Case
from evaluators.estimate.fit import Observation, leave_out
from evaluators.estimate.t4 import distinct, estimate_t4, published_rows, t4_calibration
from evaluators.estimate.tensorrt_time import TensorRtTime
from evaluators.latency.records import Estimate
from foundation.cli import json_option, print_json, run
from yolov6space.candidate import Precision
from yolov6space.space import Space

FP16 = Precision(kind="fp16")


@dataclass(frozen=True)
class Score:
    """Estimates against published speeds, in time per pass."""

    rows: int
    mean_error: float
    worst_error: float
    kendall_tau: float
    within_interval: float


def score(rows: Sequence[Observation], estimates: Sequence[Estimate]) -> Score:
    """Compare row by row."""
    from scipy.stats import kendalltau

    told = np.array([row.ms for row in rows])
    found = np.array([estimate.value_ms for estimate in estimates])
    held = [one.low_ms <= row.ms <= one.high_ms for row, one in zip(rows, estimates, strict=True)]
    errors = np.abs(found / told - 1)
    tau = float(kendalltau(found, told).statistic)
    return Score(len(rows), float(errors.mean()), float(errors.max()), tau, float(np.mean(held)))


def left_out(group: Callable[[Observation], object]) -> dict[str, Score]:
    """Scores of published speeds that the fit did not see: fp16 as printed, fp16 per case, int8."""
    printed = published_rows()
    cases = distinct(printed)
    found = dict(zip((one.case for one in cases), leave_out(TensorRtTime(), cases, group), strict=True))
    sets = {
        "fp16, as printed": [row for row in printed if row.case.precision.kind == "fp16"],
        "fp16, one per case": [row for row in cases if row.case.precision.kind == "fp16"],
        "int8": [row for row in cases if row.case.precision.kind == "int8"],
    }
    return {name: score(rows, [found[row.case] for row in rows]) for name, rows in sets.items()}


def estimates_per_second(rounds: int = 7, size: int = 400) -> list[float]:
    """Estimates of networks never seen before per second of processor time, round by round."""
    space = Space.default()
    t4_calibration()
    gc.collect()
    gc.freeze()  # what was imported is no garbage of ours to look through
    rates = []
    for seed in range(rounds):
        rng = random.Random(seed)
        cases = [
            Case(model=space.sample(rng).model, precision=FP16, batch=(1, 32)[i % 2]) for i in range(size)
        ]
        start = time.process_time()
        for case in cases:
            estimate_t4(case)
        rates.append(size / (time.process_time() - start))
    return rates


@click.command()
@json_option
def t4_estimate(as_json: bool) -> None:
    """Estimates for a Tesla T4 against published speeds, leave-one-out."""
    results = {
        "one case left out": left_out(lambda row: row.case),
        "one network left out": left_out(lambda row: replace(row.case.model, reg_max=0)),
    }
    rates = estimates_per_second()
    if as_json:
        scores = {how: {name: vars(one) for name, one in sets.items()} for how, sets in results.items()}
        print_json({"scores": scores, "estimates_per_second": rates})
        return
    for how, sets in results.items():
        for name, one in sets.items():
            click.echo(
                f"{how:21s} {name:19s} {one.rows:3d} rows: mean error {one.mean_error:.1%}, worst "
                f"{one.worst_error:.1%}, tau {one.kendall_tau:.3f}, {one.within_interval:.0%} within 90 % interval"
            )
    click.echo("asked for (fp16): mean error at most 5 %, worst 12 %, tau at least 0.95, 80 to 97 % within")
    click.echo(
        f"{statistics.median(rates):,.0f} estimates/s ({min(rates):,.0f} to {max(rates):,.0f}; asked for: 2,000)"
    )


if __name__ == "__main__":
    run(t4_estimate, "python benchmarks/t4_estimate.py")
