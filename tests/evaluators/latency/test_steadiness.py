import re

import numpy as np
import pytest

from evaluators.latency.steadiness import sign_of_disturbance, warm_up_length


def noisy(levels, seed=0):
    return np.asarray(levels) * (1 + 0.01 * np.random.default_rng(seed).standard_normal(len(levels)))


def test_a_quiet_run_is_not_called_disturbed():
    rng = np.random.default_rng(3)
    assert sign_of_disturbance(5 + 0.05 * rng.standard_normal(500)) is None


@pytest.mark.parametrize(
    ("samples", "sign"),
    [
        (np.linspace(5, 6, 200), r"drifted by \+1[678]%"),
        (np.linspace(6, 5, 200), r"drifted by -1[678]%"),
        (noisy(np.linspace(5, 6, 200)), r"drifted by \+1\d%"),
        (noisy(np.repeat([5.0, 6.0], [120, 80])), r"rose by 20% after 60% of the run .* throttled"),
        (noisy(np.repeat([6.0, 5.0], [80, 120])), r"fell by 20% after 40% of the run"),
        (np.tile([5.0, 7.0], 100), "spreads over"),
        (np.where(np.arange(200) % 50 == 0, 70.0, 2.0), "slowest 1 % took 35.0 times"),
        (np.ones(3), "only 3 samples"),
    ],
)
def test_signs_of_disturbance(samples, sign):
    assert re.search(sign, sign_of_disturbance(samples))


def test_a_step_or_trend_of_few_samples_or_little_size_is_none():
    assert sign_of_disturbance(noisy(np.repeat([5.0, 5.1], [120, 80]))) is None
    assert sign_of_disturbance(noisy(np.linspace(5, 5.1, 200))) is None


def test_the_warm_up_is_where_the_slow_start_ends():
    levels = np.full(300, 8.0)
    levels[:40] = 10.0
    assert 40 <= warm_up_length(noisy(levels)) <= 50
    assert warm_up_length(noisy(8 + 3 * np.exp(-np.arange(300) / 10))) >= 20


@pytest.mark.parametrize("levels", [np.full(300, 8.0), np.repeat([8.0, 10.0], 150), np.full(30, 8.0)])
def test_a_start_that_is_not_slower_is_no_warm_up(levels):
    assert warm_up_length(noisy(levels)) == 0
