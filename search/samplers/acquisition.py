"""What a candidate promises: closed forms for a Gaussian AP and a known latency. AP up, latency down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import norm

from search.samplers.kernel import Array


def expected_improvement(mean: Array, deviation: Array, best: Array | float) -> Array:
    """E[max(0, AP - best)] of AP ~ N(mean, deviation²); broadcasts."""
    deviation = np.maximum(deviation, 1e-12)
    z = (mean - best) / deviation
    return np.maximum(deviation * (norm.pdf(z) + z * norm.cdf(z)), 0.0)


def front_steps(ap: Array, latency: Array, limit: float, floor: float) -> tuple[Array, Array]:
    """The best AP reachable by a latency, as steps.

    Args:
        ap, latency: of what is known, (N,); over the limit does not count.
        floor: AP of an empty front.

    Returns:
        starts (K + 1,), the first -inf, the last the limit; heights (K,), `floor` first, rising.
    """
    starts, heights = [-np.inf], [floor]
    for index in np.lexsort((-ap, latency)):
        if latency[index] <= limit and ap[index] > heights[-1]:
            starts.append(float(latency[index]))
            heights.append(float(ap[index]))
    return np.array([*starts, limit]), np.array(heights)


def hypervolume(ap: Array, latency: Array, limit: float, floor: float) -> float:
    """Area between front and the reference point (floor, limit)."""
    starts, heights = front_steps(ap, latency, limit, floor)
    return float(np.sum((heights[1:] - floor) * np.diff(starts)[1:]))


def expected_hypervolume_improvement(
    mean: Array, deviation: Array, latency: Array, front: tuple[Array, Array]
) -> Array:
    """Expected growth of the area under the front, exactly: between two steps of the front a candidate adds
    width times expected improvement over that step.

    Args:
        latency: (N,), known.
        front: as `front_steps` gives it.
    """
    return _over_steps(
        latency,
        front,
        lambda reached, height: expected_improvement(mean[reached], deviation[reached], height),
    )


def hypervolume_improvement_of(
    outcomes: Array, probabilities: Array, latency: Array, front: tuple[Array, Array]
) -> Array:
    """The same for any distribution of AP: (N, Q) outcomes of probabilities (Q,)."""
    return _over_steps(
        latency, front, lambda reached, height: np.maximum(outcomes[reached] - height, 0.0) @ probabilities
    )


def _over_steps(latency: Array, front: tuple[Array, Array], gain: Callable[[Array, float], Array]) -> Array:
    starts, heights = front
    total = np.zeros(len(latency))
    for left, right, height in zip(starts[:-1], starts[1:], heights, strict=True):
        width = np.maximum(right - np.maximum(left, latency), 0.0)
        reached = width > 0
        if reached.any():
            total[reached] += width[reached] * gain(reached, height)
    return total
