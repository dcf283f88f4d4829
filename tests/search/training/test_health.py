"""The watch over the loss: calm for what happens in good runs, a reason for what does not."""

import pytest

from search.training.health import WINDOW, LossWatch
from search.training.options import TrainingDiverged


def feed(watch: LossWatch, *losses: float) -> None:
    for step, loss in enumerate(losses):
        watch.see(step, {"class": loss / 2, "box": loss / 2})


def test_noise_single_peaks_and_a_slow_start_are_no_divergence() -> None:
    watch = LossWatch()
    feed(watch, *[4, 9] * WINDOW, 200, *[3] * WINDOW, *[8] * WINDOW)
    assert watch.calm


def test_a_finished_network_may_be_heated_up_again() -> None:
    watch = LossWatch()
    feed(watch, *[0.1] * WINDOW, *[5.0] * (2 * WINDOW))
    assert watch.calm


def test_a_loss_that_stays_far_above_the_start_has_run_away() -> None:
    watch = LossWatch()
    feed(watch, *[6] * WINDOW, *[15] * (WINDOW - 1))
    assert not watch.calm  # nothing to come back to
    with pytest.raises(TrainingDiverged, match=r"runs away: 1\d.* over 20 steps at step \d+, 6 at the start"):
        feed(watch, *[30] * WINDOW)


def test_it_goes_on_from_its_state() -> None:
    watch, other = LossWatch(), LossWatch()
    feed(watch, *[6] * WINDOW, *[25] * 9)
    other.restore(watch.state())
    assert other == watch
    with pytest.raises(TrainingDiverged):
        feed(other, *[25] * 9)
