import re

import numpy as np
import pytest
from scipy.stats import quantile_test

from evaluators.latency.statistics import (
    effective_size,
    median_interval,
    relative_half_width,
    sign_of_disturbance,
)


def skewed(rng, n):
    """Latencies look like this: a hard floor, a long tail."""
    return 5.0 + rng.gamma(1.5, 0.2, n)


TRUE_MEDIAN = 5.0 + 0.2 * 1.1829866  # median of gamma(1.5)


@pytest.mark.parametrize("n", [15, 40, 200])
def test_interval_is_scipys_for_independent_samples(n):
    rng = np.random.default_rng(0)
    for _ in range(20):
        samples = skewed(rng, n)
        if effective_size(samples) < n:
            continue  # resembles its neighbours by chance; scipy knows no such correction
        expected = quantile_test(samples, p=0.5).confidence_interval(0.95)
        assert median_interval(samples) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("n", [6, 20, 100])
def test_interval_covers_the_true_median_as_often_as_it_says(n):
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(1000):
        low, high = median_interval(skewed(rng, n))
        hits += low <= TRUE_MEDIAN <= high
    assert hits >= 940  # 95 % minus two standard errors


def test_interval_covers_although_neighbours_resemble_each_other():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(400):
        noise = rng.normal(size=300)
        for i in range(1, 300):
            noise[i] += 0.8 * noise[i - 1]
        low, high = median_interval(10 + 0.1 * noise)
        hits += low <= 10 <= high
    assert hits >= 0.93 * 400  # without the correction about 0.55


def test_few_samples_give_the_whole_range():
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert relative_half_width([1.0] * 5) == float("inf")


def test_equal_samples_are_a_point():
    assert median_interval([2.0] * 50) == (2.0, 2.0)
    assert relative_half_width([2.0] * 50) == 0.0


def test_a_quiet_run_is_not_called_disturbed():
    rng = np.random.default_rng(3)
    assert sign_of_disturbance(5 + 0.05 * rng.standard_normal(500)) is None


@pytest.mark.parametrize(
    ("samples", "sign"),
    [
        (np.linspace(5, 6, 200), r"drifted by \+9%"),
        (np.linspace(6, 5, 200), r"drifted by -\d+%"),
        (np.tile([5.0, 7.0], 100), "spreads over"),
        (np.where(np.arange(200) % 50 == 0, 70.0, 2.0), "slowest 1 % took 35.0 times"),
        (np.ones(3), "only 3 samples"),
    ],
)
def test_signs_of_disturbance(samples, sign):
    assert re.search(sign, sign_of_disturbance(samples))
