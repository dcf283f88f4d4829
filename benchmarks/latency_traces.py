"""How honest the latency statistics are, on simulated traces whose truth is known.

Traces have skewed noise, neighbours that resemble each other, a warm-up, and one of: nothing more, outliers,
drift, throttling from some moment on, bursts of a busy neighbour. They go through the very sampling that a
measurement uses, on a simulated clock, stop adaptively and lose their warm-up. Counted is how often the 95 %
interval holds the truth: the latency of the undisturbed device, or of a device that drifts the middle level
of the time it was timed. Counted is also how often something is said against runs of full length (3 s).

The second part compares two networks in alternating rounds, with engines that differ from round to round: how
often equally fast ones are told apart (wrong), a slower one is called faster (wrong), and differences are found.

    python benchmarks/latency_traces.py --runs 400
"""

from collections.abc import Callable, Iterator

import click
import numpy as np
from numpy.typing import NDArray

from evaluators.latency.comparison import DEFAULT_ROUNDS, compare_rounds
from evaluators.latency.sampling import Sampling, sample, warm_up
from evaluators.latency.statistics import run_interval
from evaluators.latency.steadiness import sign_of_disturbance, warm_up_length
from foundation.cli import json_option, print_json, run

BASE_MS = 8.0
LENGTH = 4000
MEDIAN_NOISE = 0.00069  # makes BASE_MS the median of a quiet trace (found with two million passes)
Floats = NDArray[np.float64]


def quiet(rng: np.random.Generator, passes: int = LENGTH, *, warming: bool = True) -> Floats:
    """Skewed noise of about 1.5 %, half of it shared with the neighbours; median BASE_MS; a warm-up."""
    shared = rng.normal(size=passes)
    for index in range(1, passes):
        shared[index] = 0.7 * shared[index - 1] + 0.714 * shared[index]
    noise = 0.007 * shared + 0.012 * (rng.gamma(2.0, 1.0, passes) - 1.678347)
    return BASE_MS * (1 + noise - MEDIAN_NOISE + warming * 0.5 * np.exp(-np.arange(passes) / 6.0))


def outliers(rng: np.random.Generator, passes: int = LENGTH) -> Floats:
    """4 % of the passes take 1.5 to 10 times as long."""
    return quiet(rng, passes) * np.where(rng.random(passes) < 0.04, rng.uniform(1.5, 10, passes), 1.0)


def drifting(rng: np.random.Generator, passes: int) -> Floats:
    """The level of a trace that drifts, relative to its start; draws one number."""
    return 1 + rng.uniform(0.01, 0.15) * np.minimum(np.arange(passes), 400) / 400


def throttling(rng: np.random.Generator, passes: int = LENGTH) -> Floats:
    """10 to 60 % slower from some moment of the run on."""
    from_pass = rng.integers(80, 300)
    return quiet(rng, passes) * np.where(np.arange(passes) >= from_pass, rng.uniform(1.1, 1.6), 1.0)


def bursts(rng: np.random.Generator, passes: int = LENGTH) -> Floats:
    """Three bursts of 20 to 60 passes that take 1.2 to 2 times as long."""
    factor = np.ones(passes)
    for start in rng.integers(30, 350, 3):
        factor[start : start + rng.integers(20, 60)] = rng.uniform(1.2, 2.0)
    return quiet(rng, passes) * factor


KINDS: dict[str, Callable[[np.random.Generator], Floats]] = {
    one.__name__: one for one in (quiet, outliers, throttling, bursts)
}


class SimulatedDevice:
    """Plays a trace on a clock of its own."""

    def __init__(self, trace_ms: Floats) -> None:
        self._times: Iterator[float] = iter((trace_ms / 1e3).tolist())
        self.now = 0.0

    def run(self) -> None:
        self.now += next(self._times)

    def clock(self) -> float:
        return self.now


def timed(trace_ms: Floats, *, adaptively: bool = True) -> tuple[list[float], int]:
    """The samples of a measurement of this trace, without warm-up, and the pass at which they begin."""
    device = SimulatedDevice(trace_ms)
    warm = len(warm_up(device.run, at_most_seconds=1.5, clock=device.clock, wall=device.clock))
    samples = sample(
        device.run,
        Sampling(seconds=3.0, within=0.01 if adaptively else 0.0),
        clock=device.clock,
        wall=device.clock,
    ).samples_ms
    cut = warm_up_length(samples)
    return samples[cut:], warm + cut


def traces(runs: int) -> dict[str, dict[str, float]]:
    """Coverage and detection by kind of trace."""
    results = {}
    for kind in (*KINDS, "drift"):
        rng = np.random.default_rng(7)
        held = said = passes = 0.0
        for _ in range(runs):
            if kind == "drift":
                level = BASE_MS * drifting(rng, LENGTH)
                trace = quiet(rng) * level / BASE_MS
            else:
                trace, level = KINDS[kind](rng), np.full(LENGTH, BASE_MS)
            samples, start = timed(trace)
            low, high = run_interval(samples)
            held += low <= float(np.median(level[start : start + len(samples)])) <= high
            passes += len(samples)
            said += sign_of_disturbance(timed(trace, adaptively=False)[0]) is not None
        results[kind] = {"holds_truth": held / runs, "said": said / runs, "mean_samples": passes / runs}
    return results


def comparisons(runs: int, rounds: int = DEFAULT_ROUNDS) -> dict[str, dict[str, float]]:
    """Decisions by true ratio; engines differ by 3 % from round to round, drift meets both."""
    results = {}
    for ratio in (1.0, 1.02, 1.05, 1.1, 1.2):
        rng = np.random.default_rng(11)
        decisions = []
        for _ in range(runs):
            common = np.linspace(0, rng.uniform(-0.2, 0.2), rounds) + 0.05 * rng.normal(size=rounds)
            outlier = np.where(rng.random((2, rounds)) < 0.05, 0.4, 0.0)
            scatter = 0.03 * rng.normal(size=(2, rounds)) + outlier
            first, second = BASE_MS * np.exp(common + scatter + np.log([[1.0], [ratio]]))
            decisions.append(compare_rounds(first.tolist(), second.tolist()).faster)
        wrong = [one == "second" or (ratio == 1.0 and one is not None) for one in decisions]
        found = [one == "first" for one in decisions]
        results[f"{ratio:g}"] = {"wrong": float(np.mean(wrong)), "found": float(np.mean(found))}
    return results


@click.command()
@click.option("--runs", type=click.IntRange(10), default=400, show_default=True, help="Traces of every kind.")
@json_option
def latency_traces(runs: int, as_json: bool) -> None:
    """Coverage of intervals and errors of decisions on simulated traces."""
    told = {"traces": traces(runs), "comparisons": comparisons(5 * runs)}
    if as_json:
        print_json(told)
        return
    for kind, one in told["traces"].items():
        click.echo(
            f"{kind:11s} interval holds the truth in {one['holds_truth']:.1%} of the runs (asked for: 95 %), "
            f"{one['mean_samples']:.0f} samples on average; full runs called disturbed: {one['said']:.1%}"
        )
    for ratio, one in told["comparisons"].items():
        click.echo(
            f"second {ratio} times as slow: decided wrongly {one['wrong']:.1%} (asked for: at most 5 %), "
            f"difference found {one['found']:.1%}"
        )


if __name__ == "__main__":
    run(latency_traces, "python benchmarks/latency_traces.py")
