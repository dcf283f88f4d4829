import numpy as np
import pytest
from scipy.stats import quantile_test

from evaluators.latency.statistics import (
    effective_size,
    engines_interval,
    median_interval,
    relative_half_width,
    run_interval,
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


def test_an_unsteady_run_has_an_interval_from_its_fastest_to_its_slowest_phase():
    rng = np.random.default_rng(4)
    steady = 8 + 0.1 * rng.standard_normal(400)
    throttled = steady * np.where(np.arange(400) >= 300, 1.4, 1.0)
    low, high = run_interval(throttled)
    assert low <= 8 < 11 <= high
    low, high = run_interval(steady * np.linspace(1.0, 1.1, 400))
    assert low <= 8.05
    assert high >= 8.75
    low, high = run_interval(steady)
    assert high - low < 0.1


def test_the_interval_of_a_run_is_never_narrower_than_order_statistics():
    rng = np.random.default_rng(5)
    for n in (3, 6, 12, 100):
        samples = skewed(rng, n)
        inner, outer = median_interval(samples), run_interval(samples)
        assert outer[0] <= inner[0] <= inner[1] <= outer[1]


def test_engines_that_differ_widen_the_interval_to_what_another_engine_may_be():
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(200):
        levels = 8 * np.exp(0.03 * rng.normal(size=3))
        low, high = engines_interval([level + 0.02 * rng.standard_normal(60) for level in levels])
        hits += low <= 8 <= high
    assert hits >= 0.93 * 200
    one = [8 + 0.02 * rng.standard_normal(60)]
    assert engines_interval(one) == run_interval(one[0])
