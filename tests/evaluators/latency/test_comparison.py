from contextlib import contextmanager

import numpy as np
import pytest

from evaluators.latency.comparison import alternate, compare_rounds
from tests.evaluators.latency.test_sampling import FakeDevice


def test_clear_differences_are_decided_both_ways():
    first, second = [8.0, 8.1, 7.9, 8.2, 8.0, 8.05], [9.0, 9.2, 8.9, 9.1, 9.05, 9.0]
    there, back = compare_rounds(first, second), compare_rounds(second, first)
    assert there.faster == "first"
    assert back.faster == "second"
    assert there.ratio == pytest.approx(1 / back.ratio, rel=1e-6)
    assert there.low <= there.ratio <= there.high


def test_equal_networks_are_told_apart_in_at_most_one_of_twenty_comparisons():
    rng = np.random.default_rng(0)
    decided = 0
    for _ in range(1000):
        first, second = 8 * np.exp(0.04 * rng.standard_t(2, size=(2, 9)))
        decided += compare_rounds(first.tolist(), second.tolist()).faster is not None
    assert decided <= 65  # 5 % and two standard errors


def test_identical_times_decide_nothing():
    assert compare_rounds([1.0] * 6, [1.0] * 6).faster is None


@pytest.mark.parametrize(("first", "second"), [([1.0] * 5, [1.0] * 5), ([1.0] * 6, [1.0] * 7)])
def test_too_few_or_unequal_rounds_are_refused(first, second):
    with pytest.raises(ValueError, match="at least 6"):
        compare_rounds(first, second)


def test_rounds_open_both_anew_in_turn_and_drift_meets_both():
    device, opened = FakeDevice(*[0.01 * 1.001**i for i in range(3000)]), []

    def opener(name):
        @contextmanager
        def opening():
            opened.append(name)
            yield device

        return opening

    first, second = alternate(opener("a"), opener("b"), rounds=6, passes_seconds=0.1, wall=device.clock)
    assert "".join(opened) == "abba" * 3
    assert compare_rounds(first, second).ratio == pytest.approx(1.0, abs=0.005)
