"""Closed forms against Monte Carlo and a slow count."""

import numpy as np
import pytest

from search.samplers.acquisition import (
    expected_hypervolume_improvement,
    expected_improvement,
    front_steps,
    hypervolume,
)

AP = np.array([0.2, 0.5, 0.4, 0.7, 0.9])
LATENCY = np.array([1.0, 2.0, 3.0, 4.0, 9.0])
LIMIT, FLOOR = 5.0, 0.1


def test_front_and_its_area() -> None:
    starts, heights = front_steps(AP, LATENCY, LIMIT, FLOOR)
    assert heights.tolist() == [0.1, 0.2, 0.5, 0.7]  # 0.4 is beaten, 0.9 is over the limit
    assert starts.tolist() == [-np.inf, 1.0, 2.0, 4.0, 5.0]
    assert hypervolume(AP, LATENCY, LIMIT, FLOOR) == pytest.approx(0.1 * 1 + 0.4 * 2 + 0.6 * 1)
    assert hypervolume(AP[:0], LATENCY[:0], LIMIT, FLOOR) == 0.0


def test_improvement_is_that_of_samples() -> None:
    draws = np.random.default_rng(0).normal(0.6, 0.2, 400_000)
    found = expected_improvement(np.array([0.6]), np.array([0.2]), 0.7)
    assert found[0] == pytest.approx(np.maximum(draws - 0.7, 0).mean(), rel=0.01)
    assert expected_improvement(np.array([0.8]), np.array([0.0]), 0.7)[0] == pytest.approx(0.1)


@pytest.mark.parametrize("latency", [0.5, 1.5, 2.0, 4.5, 6.0])
def test_hypervolume_improvement_is_that_of_samples(latency: float) -> None:
    front = front_steps(AP, LATENCY, LIMIT, FLOOR)
    before = hypervolume(AP, LATENCY, LIMIT, FLOOR)
    draws = np.random.default_rng(1).normal(0.5, 0.2, 3000)
    gains = [
        hypervolume(np.append(AP, draw), np.append(LATENCY, latency), LIMIT, FLOOR) - before for draw in draws
    ]
    found = expected_hypervolume_improvement(np.array([0.5]), np.array([0.2]), np.array([latency]), front)
    assert found[0] == pytest.approx(np.mean(gains), rel=0.07, abs=1e-9)
