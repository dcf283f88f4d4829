"""Statistics of latency samples: the interval of a median, and signs that something interfered.

Times of passes are skewed, have outliers and follow each other closely, so nothing here assumes a normal
distribution, and the interval of the median allows for samples that resemble their neighbours.
"""

from collections.abc import Sequence

import numpy as np

MAX_DRIFT = 0.03  # of the median, between the first and the second half
MAX_SPREAD = 0.15  # interquartile range over median
MAX_TAIL = 2.0  # 99th percentile over median
MIN_SAMPLES = 6  # fewest with which order statistics give a 95 % interval: 1 - 2 / 2**6 = 0.97


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
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


def effective_size(samples: Sequence[float]) -> int:
    """How many independent samples these are worth, at least 1."""
    n = len(samples)
    if n < 2 * MIN_SAMPLES:
        return n  # too few to tell
    ranks = np.argsort(np.argsort(samples)).astype(float)
    ranks -= ranks.mean()
    correlation = float(ranks[1:] @ ranks[:-1]) / float(ranks @ ranks)
    return max(1, round(n * (1 - correlation) / (1 + correlation))) if correlation > 0 else n


def relative_half_width(samples: Sequence[float]) -> float:
    """The wider side of the 95 % interval over the median; infinite with fewer than MIN_SAMPLES samples."""
    if len(samples) < MIN_SAMPLES:
        return float("inf")
    low, high = median_interval(samples)
    median = float(np.median(samples))
    return max(high - median, median - low) / median


def sign_of_disturbance(samples: Sequence[float]) -> str | None:
    """What in the samples themselves speaks against them, in words; None when they look quiet."""
    if len(samples) < MIN_SAMPLES:
        return f"only {len(samples)} samples"
    values = np.asarray(samples, dtype=float)
    median = float(np.median(values))
    half = len(values) // 2
    drift = float(np.median(values[half:]) - np.median(values[:half])) / median
    if abs(drift) > MAX_DRIFT:
        return f"latency drifted by {drift:+.0%} during the run"
    low, high, tail = (float(q) / median for q in np.quantile(values, (0.25, 0.75, 0.99)))
    if high - low > MAX_SPREAD:
        return f"the middle half of the samples spreads over {high - low:.0%} of the median"
    if tail > MAX_TAIL:
        return f"the slowest 1 % took {tail:.1f} times the median"
    return None
