"""Time: predictions from two timed networks, and what finished jobs teach."""

import math
from dataclasses import replace

import pytest

from search.budget import (
    DEPLOY_SECONDS,
    EXPLORING_SHARE,
    FEWEST_TO_EXPLORE,
    MAX_EPOCHS,
    MIN_EPOCHS,
    TELLING_STEPS,
    TimePlan,
    TrainingCost,
    exploration_epochs,
    seconds_besides_training,
)
from search.effort import all_epochs, epochs_share, teaching_cost
from yolov6space.variants import get


def test_line_through_two_networks() -> None:
    cost = TrainingCost.through((0.7, 0.034), (2.75, 0.060))
    assert cost.seconds_per_image(0.7) == pytest.approx(0.034)
    assert cost.seconds_per_image(2.75) == pytest.approx(0.060)
    assert cost.fixed_s > 0


@pytest.mark.parametrize("small_s", [0.0, 0.09])
def test_noise_gives_no_negative_part(small_s: float) -> None:
    cost = TrainingCost.through((0.7, small_s), (2.75, 0.06))
    assert cost.fixed_s >= 0 and cost.per_gflop_s >= 0
    assert cost.seconds_per_image(2.75) == pytest.approx(0.06)


def test_a_plan_learns_how_much_slower_it_really_is() -> None:
    plan = TimePlan(budget_s=None, cost=TrainingCost(0.02, 0.01), clock=lambda: 0.0)
    for _ in range(20):
        plan.learn(2.0, images_seen=100, training_s=100 * 0.08, deploy_s=5.0)
    assert plan.seconds_for(2.0, images=10, epochs=3) == pytest.approx(10 * 3 * 0.08 + 5.0, rel=1e-3)
    assert plan.seconds_for(4.0, images=10, epochs=3) == pytest.approx(10 * 3 * 0.12 + 5.0, rel=1e-3)
    assert plan.epochs_within(5.0 + 10 * 7.5 * 0.08, 2.0, images=10) == 7
    assert plan.epochs_within(1.0, 2.0, images=10) == 0


def test_a_network_that_was_trained_is_foretold_by_its_own_pace() -> None:
    plan = TimePlan(budget_s=None, cost=TrainingCost(0.02, 0.01), clock=lambda: 0.0, slower=1.0)
    plan.learn(2.0, images_seen=100, training_s=100 * 0.16, deploy_s=DEPLOY_SECONDS)
    assert plan.seconds_for(2.0, images=10, epochs=1) - DEPLOY_SECONDS == pytest.approx(10 * 0.16)
    others = plan.seconds_for(4.0, images=10, epochs=1) - DEPLOY_SECONDS
    assert 10 * 0.06 < others < 10 * 0.06 * 4, "half believed of others, in proportion"


def test_exploration_epochs_stay_in_bounds() -> None:
    assert exploration_epochs(1.0, 100.0, 60) == MIN_EPOCHS
    assert exploration_epochs(1e9, 1.0, 60) == MAX_EPOCHS
    assert MIN_EPOCHS < exploration_epochs(1500.0, 9.0, 60) < MAX_EPOCHS


def test_fewer_networks_are_explored_where_all_would_be_trained_too_little_to_tell() -> None:
    many, long = exploration_epochs(720.0, 23.0, 1e9), exploration_epochs(720.0, 23.0, 60)
    assert many == MIN_EPOCHS < long <= math.ceil(TELLING_STEPS / 60)
    assert long * 23.0 + DEPLOY_SECONDS <= 720.0 * EXPLORING_SHARE / FEWEST_TO_EXPLORE
    assert exploration_epochs(7200.0, 23.0, 60) == exploration_epochs(7200.0, 23.0, 1e9), (
        "there is time for all"
    )


def test_a_search_for_scales_and_a_teacher_take_their_time() -> None:
    plain = get("YOLOv6-N")
    repopt = replace(plain, model=replace(plain.model, conv="repopt"))
    taught = replace(plain, recipe=replace(plain.recipe, distillation="self"))
    assert [all_epochs(plain.model, 20), all_epochs(repopt.model, 20), all_epochs(repopt.model, 2)] == [
        20,
        22,
        3,
    ]
    assert (epochs_share(plain.model), epochs_share(repopt.model)) == (1.0, 1.1)
    assert (teaching_cost(plain), teaching_cost(taught)) == (1.0, 4 / 3)


def test_processes_that_share_a_training_are_supposed_so_many_times_as_fast() -> None:
    cost = TrainingCost(0.02, 0.01)
    assert cost.shared(4).seconds_per_image(3.0) == pytest.approx(cost.seconds_per_image(3.0) / 4)
    assert seconds_besides_training(4) > seconds_besides_training(1) == DEPLOY_SECONDS
