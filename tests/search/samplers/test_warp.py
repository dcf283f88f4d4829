"""The scale of the model: it goes there and back, pulls in tails, and stands still where nothing varies."""

import numpy as np
import pytest
from scipy.stats import skew

from search.samplers.acquisition import (
    expected_hypervolume_improvement,
    front_steps,
    hypervolume_improvement_of,
)
from search.samplers.warp import Warp, outcomes

TAILED = 70.0 - np.random.default_rng(0).gamma(1.0, 6.0, 200)  # as AP is: many good, a few far below


def test_there_and_back() -> None:
    for values in (TAILED, -TAILED, np.linspace(0.0, 0.5, 20), np.append(np.full(30, 0.4), 0.1)):
        warp = Warp.fitted(values)
        assert warp.back(warp.to(values)) == pytest.approx(values, abs=1e-8)
        assert warp.to(values).mean() == pytest.approx(0.0, abs=1e-9)
        assert np.all(np.diff(warp.back(np.linspace(-20.0, 20.0, 101))) >= 0.0)


def test_a_long_tail_is_pulled_in() -> None:
    assert abs(skew(Warp.fitted(TAILED).to(TAILED))) < 0.3 * abs(skew(TAILED))


def test_values_that_are_all_one() -> None:
    warp = Warp.fitted(np.full(3, 0.4))
    assert warp.to(np.array([0.4, 0.5])) == pytest.approx([0.0, 0.1])
    assert warp.back(warp.to(np.array([0.3]))) == pytest.approx([0.3])


def test_errors_grow_where_the_scale_does() -> None:
    warp = Warp.fitted(TAILED)
    high, low = warp.error_to(np.array([70.0, 45.0]), np.array([0.5, 0.5]))
    assert high > 2.0 * low > 0.0


def test_outcomes_are_those_of_the_belief() -> None:
    warp = Warp.fitted(TAILED)
    draws = warp.back(np.random.default_rng(1).normal(0.7, 0.4, 400_000))
    values, probabilities = outcomes(warp, np.array([0.7]), np.array([0.4]))
    assert (values @ probabilities)[0] == pytest.approx(draws.mean(), rel=1e-3)


def test_hypervolume_improvement_without_a_warp_is_the_closed_form() -> None:
    front = front_steps(np.array([0.2, 0.5, 0.7]), np.array([1.0, 2.0, 4.0]), 5.0, 0.1)
    mean, deviation, latency = np.array([0.5, 0.6]), np.array([0.2, 0.3]), np.array([1.5, 0.5])
    straight = Warp(0.0, 1.0, 1.0, 0.0, 1.0)
    found = hypervolume_improvement_of(*outcomes(straight, mean, deviation), latency, front)
    exact = expected_hypervolume_improvement(mean, deviation, latency, front)
    assert found == pytest.approx(exact, rel=0.05)
