"""The covariance against finite differences, and beliefs against functions that are known."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.gaussian_process.kernels import Matern

from search.samplers.features import features
from search.samplers.kernel import GroupedMatern, MapRegressor
from search.samplers.latency import allowed_risk, as_here, latency_belief, pooled, probability_within
from search.samplers.model import Belief, believe

CHOICES = {"size": None, "kind": ("a", "b", "c"), "other": ("a", "b", "c")}


def population(count: int = 60) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    return [
        {
            "size": float(rng.integers(1, 9)),
            "kind": str(rng.choice(list("abc"))),
            "other": str(rng.choice(list("abc"))),
        }
        for _ in range(count)
    ]


def test_kernel_is_matern_and_its_gradient_is_right() -> None:
    rows = np.random.default_rng(0).random((6, 3))
    one = GroupedMatern([0.5, 2.0, 1.0], ((0,), (1,), (2,)))
    assert np.allclose(one(rows), Matern([0.5, 2.0, 1.0], nu=2.5)(rows))
    assert np.allclose(one(rows, rows), one(rows))
    shared = GroupedMatern([0.7, 1.3], ((0, 2), (1,)))
    _, gradient = shared(rows, eval_gradient=True)
    step = 1e-6
    for index in range(2):
        theta = shared.theta.copy()
        theta[index] += step
        above = shared.clone_with_theta(theta)(rows)
        theta[index] -= 2 * step
        assert np.allclose(
            gradient[..., index], (above - shared.clone_with_theta(theta)(rows)) / 2 / step, atol=1e-7
        )


def test_prior_holds_what_the_data_do_not_say() -> None:
    rows = np.random.default_rng(0).random((4, 1))
    prior = (np.array([np.log(3.0)]), np.array([1e-3]))
    fitted = MapRegressor(GroupedMatern([1.0], ((0,),)), alpha=1e-4, prior=prior).fit(rows, rows[:, 0])
    assert fitted.kernel_.length_scale == pytest.approx(3.0, rel=0.01)


def test_features_scale_indicate_and_count() -> None:
    found = features(
        [
            {"size": 1, "kind": "a", "other": "a"},
            {"size": 100, "kind": "b", "other": "a"},
            {"kind": "a", "other": "b"},
        ],
        {"flops": [1.0, 10.0, 100.0]},
        CHOICES,
    )
    assert found.matrix.min() >= 0.0 and found.matrix.max() <= 1.0
    size, absent = (found.matrix[:, column] for column in found.groups["size"])
    assert size.tolist() == [0.0, 1.0, 0.5] and absent.argmax() == 2
    kind = found.matrix[:, list(found.groups["kind"])]
    assert ((kind[0] - kind[1]) ** 2).sum() == pytest.approx(1.0)  # Hamming
    assert found.matrix[:, found.groups["number of a"][0]].tolist() == [1.0, 0.5, 0.5]
    assert found.summaries == {"flops", "number of a", "number of b"}
    assert found.matrix[:, found.groups["flops"][0]].tolist() == pytest.approx([0.0, 0.5, 1.0])


def test_belief_predicts_and_knows_what_it_does_not_know() -> None:
    params = population()
    truth = np.array([float(one["size"]) + 2.0 * (one["kind"] == "b") for one in params])
    found = features(params, {}, CHOICES)
    rows, rest = np.arange(30), np.arange(30, 60)
    belief = believe(found, rows, truth[rows], np.zeros(30), rest, seed=0)
    assert np.corrcoef(belief.mean, truth[rest])[0, 1] > 0.95
    assert np.abs((belief.mean - truth[rest]) / belief.deviation).mean() < 2.0
    again = believe(found, rows, truth[rows], np.zeros(30), rest, seed=0)
    assert np.array_equal(belief.mean, again.mean)


def test_what_sums_a_candidate_up_is_followed_beyond_what_was_seen() -> None:
    params = population()
    work = np.linspace(1.0, 20.0, 60)
    truth = np.log(work) + 0.2 * np.array([one["kind"] == "b" for one in params])
    found = features(params, {"flops": work.tolist()}, CHOICES)
    rows = np.arange(5, 35, 2)
    belief = believe(found, rows, truth[rows], np.zeros(len(rows)), np.arange(60), seed=0)
    assert belief.mean[-1] > truth[rows].max() + 0.2


def test_latency_exact_estimated_and_learnt() -> None:
    params = population()
    found = features(params, {}, CHOICES)
    flops = np.linspace(1.0, 20.0, 60)
    truth = 0.5 * flops
    nothing = np.full(60, np.nan)
    exact = latency_belief(found, {}, truth, 0.0, nothing)
    assert exact is not None
    assert set(probability_within(exact, 5.0)) == {0.0, 1.0}
    assert latency_belief(found, {"flops": flops.tolist()}, None, 0.0, nothing) is None
    measured = np.where(np.arange(60) % 6 == 0, truth, np.nan)
    learnt = latency_belief(found, {"flops": flops.tolist()}, None, 0.0, measured)
    assert learnt is not None and np.allclose(np.exp(learnt.mean), truth, rtol=0.1)
    biased = latency_belief(found, {}, truth * 1.3, 0.05, measured)
    assert biased is not None and np.exp(biased.mean[1]) < truth[1] * 1.15  # what was measured corrects it
    assert biased.deviation[0] == 0.0 and biased.deviation[1] > 0.0


def test_another_device_tells_of_this_one_from_the_first_measurement_on() -> None:
    there = Belief(np.log(np.linspace(1.0, 20.0, 60)), np.full(60, 0.02))
    here = np.exp(there.mean) / 3.0
    nothing = np.full(60, np.nan)
    before = as_here(there, nothing)
    assert np.allclose(before.mean, there.mean) and (before.deviation > 0.5).all()
    once = as_here(there, np.where(np.arange(60) == 40, here, np.nan))
    assert np.allclose(np.exp(once.mean), here, rtol=0.1) and (once.deviation < 0.3).all()
    often = as_here(there, np.where(np.arange(60) % 3 == 0, here, np.nan))
    assert np.allclose(np.exp(often.mean), here, rtol=0.01) and (often.deviation < once.deviation).all()


def test_pooled_beliefs_are_those_of_both_sources_together() -> None:
    """Normal beliefs: the product of their densities, here by a grid."""
    grid = np.linspace(-5.0, 5.0, 20_001)
    density = norm.pdf(grid, 0.3, 0.5) * norm.pdf(grid, 1.0, 0.2)
    mean = (grid * density).sum() / density.sum()
    deviation = (((grid - mean) ** 2 * density).sum() / density.sum()) ** 0.5
    both = pooled(Belief(np.array([0.3]), np.array([0.5])), Belief(np.array([1.0]), np.array([0.2])))
    assert both.mean[0] == pytest.approx(mean, abs=1e-6)
    assert both.deviation[0] == pytest.approx(deviation, abs=1e-6)


def test_a_fixed_time_and_a_choice_seen_once_and_far_too_large_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    small = np.exp(rng.uniform(np.log(0.25), np.log(1.6), 20))
    flops = np.concatenate([small, [26.0, 120.0], [0.35, 0.9, 1.5, 3.0]])
    quick = np.arange(26) >= 21  # the first of them is the one that was measured
    params = [
        {"size": float(size), "kind": "b" if fast else "a"} for size, fast in zip(flops, quick, strict=True)
    ]
    figures = {
        "flops": flops.tolist(),
        "params": (flops * np.exp(0.4 * rng.standard_normal(26))).tolist(),
        "activations": (flops**0.7 * np.exp(0.2 * rng.standard_normal(26))).tolist(),
    }
    truth = 1.0 + flops * np.where(quick, 1.5, 4.5)
    measured = np.where(np.arange(26) < 22, truth, np.nan)
    found = features(params, figures, {"size": None, "kind": ("a", "b")})
    learnt = latency_belief(found, figures, None, 0.0, measured)
    assert learnt is not None and np.allclose(np.exp(learnt.mean), truth, rtol=0.1)


def test_risk_is_spent_once() -> None:
    assert allowed_risk(0.03, 0, 0) == pytest.approx(0.03)
    assert allowed_risk(0.03, 40, 0) > 0.1
    assert allowed_risk(0.03, 40, 2) == 0.01


def test_an_uncertain_observation_moves_the_belief_less() -> None:
    params = population()
    found = features(params, {}, CHOICES)
    rows = np.arange(30)
    values = np.array([float(one["size"]) for one in params[:30]])
    values[4] += 20.0
    beside = [row for row in range(60) if row != 4]
    truth = np.array([float(params[row]["size"]) for row in beside])
    noise = np.where(rows == 4, 20.0, 0.0)
    sure = believe(found, rows, values, np.zeros(30), np.array(beside), seed=0)
    unsure = believe(found, rows, values, noise, np.array([*beside, 4]), seed=0)
    assert np.abs(unsure.mean[:-1] - truth).mean() < 0.7 * np.abs(sure.mean - truth).mean()
    assert unsure.mean[-1] < values[4] - 10.0
