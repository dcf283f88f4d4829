"""Whether a run was steady: where its warm-up ends, and what in the samples speaks against them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluators.latency.statistics import MIN_SAMPLES

MAX_CHANGE = 0.03  # of the median: drift over the run, or a step in it
MAX_SPREAD = 0.15  # interquartile range over median
MAX_TAIL = 2.0  # 99th percentile over median
SURE = 0.001  # a trend or a step that chance makes more often than this is none
_PARTS = 20  # stretches whose medians show trends and steps; outliers do not reach them
_BATCH = 5  # passes whose median is one value of the search for the end of the warm-up


def warm_up_length(samples: Sequence[float]) -> int:
    """How many samples at the start belong to a warm-up that is still visible; at most half of them.

    The marginal standard error rule (White 1997): cut where what remains tells its mean best, here over
    medians of five passes. Nothing is cut where the start is not slower than the rest by more than 1 %.
    """
    batches = len(samples) // _BATCH
    if batches < 2 * MIN_SAMPLES:
        return 0
    medians = np.median(np.asarray(samples[: batches * _BATCH]).reshape(batches, _BATCH), axis=1)
    remaining = [medians[cut:] for cut in range(batches // 2 + 1)]
    errors = [float(rest.var()) / len(rest) for rest in remaining]
    cut = int(np.argmin(errors))
    if cut == 0 or float(np.median(medians[:cut])) < 1.01 * float(np.median(medians[cut:])):
        return 0
    return cut * _BATCH


def sign_of_disturbance(samples: Sequence[float]) -> str | None:
    """What in the samples speaks against them, in words; None when they look quiet."""
    if len(samples) < MIN_SAMPLES:
        return f"only {len(samples)} samples"
    values = np.asarray(samples, dtype=float)
    median = float(np.median(values))
    change = _step(values, median) or _drift(values, median)
    if change is not None:
        return change
    low, high, tail = (float(q) / median for q in np.quantile(values, (0.25, 0.75, 0.99)))
    if high - low > MAX_SPREAD:
        return f"the middle half of the samples spreads over {high - low:.0%} of the median"
    if tail > MAX_TAIL:
        return f"the slowest 1 % took {tail:.1f} times the median"
    return None


def _drift(values: NDArray[np.float64], median: float) -> str | None:
    """A steady trend: Mann-Kendall test and Theil-Sen slope over the medians of stretches."""
    from scipy.stats import kendalltau, theilslopes

    medians = _stretches(values)
    change = float(theilslopes(medians)[0]) * (len(medians) - 1) / median
    if abs(change) <= MAX_CHANGE or kendalltau(np.arange(len(medians)), medians).pvalue > SURE:
        return None
    return f"latency drifted by {change:+.0%} during the run"


def _step(values: NDArray[np.float64], median: float) -> str | None:
    """A lasting step, as a device makes that throttles or is freed of throttling.

    The split into two parts whose levels differ most clearly for their spread; a trend has no such split:
    the halves of either part would differ nearly as much.
    """
    from scipy.stats import mannwhitneyu

    medians = _stretches(values)
    count = len(medians)
    if count < _PARTS:
        return None
    splits = range(3, count - 2)
    left = [float(np.abs(medians[:at] - np.median(medians[:at])).sum()) for at in splits]
    right = [float(np.abs(medians[at:] - np.median(medians[at:])).sum()) for at in splits]
    at = splits[int(np.argmin(np.add(left, right)))]
    before, after = medians[:at], medians[at:]
    step = float(np.median(after) - np.median(before)) / median
    within = max(abs(_halves(before)), abs(_halves(after))) / median
    if abs(step) <= MAX_CHANGE or within > abs(step) / 3 or mannwhitneyu(before, after).pvalue > SURE:
        return None
    share = at / count
    if step > 0:
        return f"latency rose by {step:.0%} after {share:.0%} of the run and stayed there: throttled, or disturbed"
    return f"latency fell by {-step:.0%} after {share:.0%} of the run and stayed there: throttled before, or disturbed"


def _halves(medians: NDArray[np.float64]) -> float:
    """By how much the second half lies above the first."""
    half = len(medians) // 2
    return float(np.median(medians[half:]) - np.median(medians[:half]))


def _stretches(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Medians of up to 20 equal stretches of at least three samples."""
    parts = min(_PARTS, len(values) // 3)
    return np.array([np.median(part) for part in np.array_split(values, max(2, parts))])
