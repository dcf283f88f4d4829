"""Statistics of latency samples: the interval of a median, within one engine and over several.

Times of passes are skewed, have outliers, follow each other closely, drift and fall into phases, so nothing
here assumes a normal distribution or independent samples.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Samples = Sequence[float] | NDArray[np.float64]  # milliseconds of passes, in order

STRETCHES = (
    8  # equal stretches of a run; the range of eight medians holds the common one in 99 % of steady runs
)
MIN_SAMPLES = 6  # fewest with which order statistics give a 95 % interval: 1 - 2 / 2**6 = 0.97
USUAL_SCATTER = 0.03  # of log medians from one engine to the next
USUAL_FREEDOM = 4


def median_interval(samples: Samples, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the median from order statistics.

    The k-th smallest and k-th largest of n independent samples enclose the median with a probability that
    depends on n and k only (binomial with p = 1/2). Samples that resemble their predecessor carry less:
    n is scaled by (1 - r) / (1 + r), r the lag-1 autocorrelation of their ranks (0 when negative). With too
    few samples for the confidence asked, the interval is smallest to largest.
    """
    from scipy.stats import binom

    ordered = np.sort(np.asarray(samples, dtype=float))
    n = len(ordered)
    effective = effective_size(samples)
    below = int(binom.ppf((1 - confidence) / 2, effective, 0.5)) - 1  # samples cut off at each end
    if below < 0:
        return float(ordered[0]), float(ordered[-1])
    cut = int(below * n / effective)
    return float(ordered[cut]), float(ordered[n - 1 - cut])


def effective_size(samples: Samples) -> int:
    """How many independent samples these are worth, at least 1."""
    n = len(samples)
    if n < 2 * MIN_SAMPLES:
        return n  # too few to tell
    ranks = np.argsort(np.argsort(samples)).astype(float)
    ranks -= ranks.mean()
    correlation = float(ranks[1:] @ ranks[:-1]) / float(ranks @ ranks)
    return max(1, round(n * (1 - correlation) / (1 + correlation))) if correlation > 0 else n


def run_interval(samples: Samples) -> tuple[float, float]:
    """At least 95 % confidence interval of the median of a run, also of one that is not steady.

    The order statistics of `median_interval`, joined with the range of the medians of eight equal stretches of
    the run. Stretches are long, so that neighbours that resemble each other hardly matter between them. Where
    the stretches contradict each other (the device drifts, throttles, or is disturbed for a while) their own
    intervals are joined, from the fastest to the slowest phase: nothing narrower would hold the latency of an
    undisturbed device, which only one of them may have shown.
    """
    from scipy.stats import theilslopes

    low, high = median_interval(samples)
    if len(samples) < 2 * STRETCHES:
        return low, high
    parts = np.array_split(np.asarray(samples), STRETCHES)
    medians = [float(np.median(part)) for part in parts]
    lows, highs = zip(*map(median_interval, parts), strict=True)
    if max(lows) > min(highs):
        return min(low, *lows), max(high, *highs)
    half = abs(float(theilslopes(medians)[0])) / 2  # a stretch that drifts began and ended beside its median
    return min(low, min(medians) - half), max(high, max(medians) + half)


def engines_interval(runs: Sequence[Samples]) -> tuple[float, float]:
    """The interval of the median of a typical engine, from one run each of several engines.

    Two builds or openings of the same network differ, often by more than the interval of either. With two or
    more engines it is the interval of the mean of their log medians by Student's t, joined with the middle of
    the runs' own intervals. So few engines tell little about their own scatter, so it is moderated (Smyth
    2004): the 3 % that engines usually scatter by count like four more degrees of freedom.
    """
    inner = [run_interval(run) for run in runs]
    low, high = (float(np.median(ends)) for ends in zip(*inner, strict=True))
    if len(runs) == 1:
        return low, high
    from scipy.stats import t

    logs = np.log([np.median(run) for run in runs])
    freedom = len(runs) - 1
    squares = freedom * float(logs.var(ddof=1)) + USUAL_FREEDOM * USUAL_SCATTER**2
    error = (squares / (freedom + USUAL_FREEDOM) / len(runs)) ** 0.5
    reach = float(t.ppf(0.975, freedom + USUAL_FREEDOM)) * error
    middle = float(logs.mean())
    return min(low, float(np.exp(middle - reach))), max(high, float(np.exp(middle + reach)))


def relative_half_width(samples: Samples) -> float:
    """The wider side of `run_interval` over the median; infinite with fewer than MIN_SAMPLES samples."""
    if len(samples) < MIN_SAMPLES:
        return float("inf")
    low, high = run_interval(samples)
    median = float(np.median(samples))
    return max(high - median, median - low) / median
