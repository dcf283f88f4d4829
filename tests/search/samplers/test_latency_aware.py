"""The sampler in plain Optuna studies over small tables: valid, new, feasible, reproducible."""

import itertools
from dataclasses import replace

import numpy as np
import optuna
import pytest

from search.benchmarking.table import Table, TableSource, key_of
from search.samplers.acquisition import front_steps
from search.samplers.decide import decide, risk_taken
from search.samplers.latency_aware import LATENCY, RUNG, WHY, ExhaustedError, LatencyAwareSampler, suggest
from search.samplers.promotion import rank_for_promotion
from search.samplers.report import beliefs
from search.samplers.scores import scores
from search.samplers.situation import observed, situation
from search.samplers.values import Goal, Observation

LIMIT = 6.0


def table() -> Table:
    """54 candidates; `bottleneck` applies to kind b only."""
    params = [
        {"p_width": float(width), "p_depth": float(depth), "p_kind": kind} | extra
        for width, depth, kind in itertools.product((1, 2, 3), (1, 2, 3, 4, 5, 6), "ab")
        for extra in ([{}] if kind == "a" else [{"p_bottleneck": 0.5}, {"p_bottleneck": 0.25}])
    ]
    width = np.array([one["p_width"] for one in params])
    depth = np.array([one["p_depth"] for one in params])
    slim = np.array([one.get("p_bottleneck", 1.0) for one in params])
    latency = 0.5 + width * depth * (0.5 + 0.5 * slim)
    ap = 40 * np.log(1 + width * depth * slim**0.3) - (depth - 3) ** 2
    choices = {"p_width": None, "p_depth": None, "p_kind": ("a", "b"), "p_bottleneck": None}
    return Table("small", tuple(params), choices, {"ap": ap, "ms": latency, "quick": ap - 5 + width})


def sampler(costs: tuple[float, ...] = (1.0,), seed: int = 0, error: float = 0.0) -> LatencyAwareSampler:
    small = table()
    source = TableSource(small, {"ms": small.columns["ms"]}, "ms", error, LIMIT)
    return LatencyAwareSampler(source, Goal(LIMIT, costs=costs), seed=seed)


def ask(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    for name in trial.relative_params:
        assert trial.relative_search_space is not None
        suggest(trial, name, trial.relative_search_space[name])
    return trial


def row(trial: optuna.Trial) -> int:
    return table().rows[key_of({name: value for name, value in trial.params.items() if name != RUNG})]


def new_study(one: LatencyAwareSampler) -> optuna.Study:
    return optuna.create_study(directions=["maximize", "minimize"], sampler=one)


def test_every_question_is_valid_new_and_within_the_limit_until_none_is_left() -> None:
    columns = table().columns
    study = new_study(sampler())
    within = int((columns["ms"] <= LIMIT).sum())
    rows = []
    for _ in range(within):
        trial = ask(study)
        rows.append(row(trial))
        assert study.trials[-1].user_attrs[WHY]
        study.tell(trial, [columns["ap"][rows[-1]], columns["ms"][rows[-1]]])
    assert len(set(rows)) == within and max(columns["ms"][rows]) <= LIMIT
    with pytest.raises(ExhaustedError):
        ask(study)
    best = columns["ap"][columns["ms"] <= LIMIT].max()
    assert best in columns["ap"][rows[:14]]


def test_state_is_the_trials_alone() -> None:
    columns = table().columns
    unbroken = new_study(sampler())
    asked = []
    for _ in range(12):
        again = new_study(sampler())
        again.add_trials(unbroken.get_trials())
        trial = ask(unbroken)
        assert ask(again).params == trial.params
        asked.append(row(trial))
        unbroken.tell(trial, [columns["ap"][asked[-1]], columns["ms"][asked[-1]]])
    assert (
        row(ask(new_study(sampler(seed=1)))) != asked[0] or row(ask(new_study(sampler(seed=2)))) != asked[0]
    )


def test_parallel_workers_and_failures_are_never_asked_again() -> None:
    columns = table().columns
    study = new_study(sampler())
    rows = []
    for _ in range(6):
        batch = [ask(study) for _ in range(3)]
        rows += [row(trial) for trial in batch]
        study.tell(batch[0], state=optuna.trial.TrialState.FAIL)
        for trial in batch[1:]:
            study.tell(trial, [columns["ap"][row(trial)], columns["ms"][row(trial)]])
    assert len(set(rows)) == 18


def test_an_inexact_latency_is_learnt_from_what_was_over_the_limit() -> None:
    columns = table().columns
    study = new_study(sampler(error=0.05))
    for _ in range(10):
        trial = ask(study)
        truth = 1.25 * columns["ms"][row(trial)]  # the estimate is a quarter too low
        if truth > LIMIT:
            trial.set_user_attr(LATENCY, truth)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, [columns["ap"][row(trial)], truth])
    late = [row(trial) for trial in (ask(study) for _ in range(3))]
    assert (1.25 * columns["ms"][late] <= LIMIT).all()


def test_what_was_over_the_limit_when_nothing_was_foretold_is_not_held_against_questions() -> None:
    small = table()
    learnt, known = (
        TableSource(small, {"ms": small.columns["ms"]}, name, 0.05, LIMIT) for name in (None, "ms")
    )
    slow = [Observation(params, 0, None, 2 * LIMIT) for params in small.params[:10]]
    good = [Observation(params, 0, 0.4, 0.5 * LIMIT) for params in small.params[10:20]]
    assert risk_taken(learnt, slow, Goal(LIMIT), first_look=True) == 0.5
    assert risk_taken(learnt, [*slow, *good], Goal(LIMIT), first_look=False) > 0.03
    assert risk_taken(learnt, [*good, *slow], Goal(LIMIT), first_look=False) == 0.01
    assert risk_taken(known, slow, Goal(LIMIT), first_look=True) == 0.01


def test_rows_that_no_error_of_the_estimate_brings_within_the_limit_are_not_drawn() -> None:
    small = table()
    latency = small.columns["ms"]
    source = TableSource(small, {"ms": latency}, "ms", 0.05, LIMIT)
    drawn = {key_of(one) for one in source.draw((), [], 0)}
    assert {small.keys[i] for i in np.flatnonzero(latency <= 1.2 * LIMIT)} <= drawn
    assert drawn < set(small.keys)


def test_rungs_are_climbed_from_below() -> None:
    columns = table().columns
    study = new_study(sampler(costs=(0.1, 1.0)))
    seen: list[tuple[int, int]] = []
    for _ in range(30):
        trial = ask(study)
        rung, here = int(trial.params[RUNG]), row(trial)
        assert (rung, here) not in seen
        seen.append((rung, here))
        study.tell(trial, [(columns["quick"], columns["ap"])[rung][here], columns["ms"][here]])
    high = [here for rung, here in seen if rung == 1]
    low = [here for rung, here in seen if rung == 0]
    assert high and len(low) > len(high)
    best = columns["ap"][columns["ms"] <= LIMIT].max()
    assert columns["ap"][high].max() > best - 3.0


def test_a_cheaper_rung_gets_its_share_and_the_looks_elsewhere() -> None:
    columns = table().columns
    study = new_study(sampler(costs=(0.05, 1.0)))
    count, unlike = [0, 0], [0, 0]
    for _ in range(34):
        trial = ask(study)
        rung, here = int(trial.params[RUNG]), row(trial)
        left = sum(columns["ms"] <= LIMIT) - count[0]
        assert rung == 0 or left == 0 or 0.05 * (count[0] + 1) > 0.25 * (count[1] + 1)
        count[rung] += 1
        unlike[rung] += "unlike" in study.trials[-1].user_attrs[WHY]
        study.tell(trial, [(columns["quick"], columns["ap"])[rung][here], columns["ms"][here]])
    assert count[1] > 3 and unlike[0] > 0 and unlike[1] == 0


def test_promotion_prefers_gain_and_drops_the_hopeless() -> None:
    small = table()
    source = TableSource(small, {"ms": small.columns["ms"]}, "ms", 0.0, LIMIT)
    within = np.flatnonzero(small.columns["ms"] <= LIMIT)
    seen = [
        Observation(small.params[i], 0, small.columns["quick"][i], small.columns["ms"][i]) for i in within
    ]
    ranked = rank_for_promotion(source, seen, Goal(LIMIT, costs=(0.1, 1.0)), 0)
    assert 0 < len(ranked) < len(within)
    first = small.rows[key_of(ranked[0].params)]
    better = (small.columns["quick"] > small.columns["quick"][first]) & (
        small.columns["ms"] <= small.columns["ms"][first]
    )
    assert not better.any()
    kept = {key_of(choice.params) for choice in ranked}
    beaten = [
        i
        for i in within
        if (
            (small.columns["ms"][within] <= small.columns["ms"][i])
            & (small.columns["quick"][within] > small.columns["quick"][i])
        ).any()
    ]
    dropped = [i for i in within if small.keys[i] not in kept]
    assert dropped and set(dropped) <= set(beaten)
    done = [
        *seen,
        Observation(small.params[first], 1, small.columns["ap"][first], small.columns["ms"][first]),
    ]
    assert key_of(ranked[0].params) not in {
        key_of(choice.params) for choice in rank_for_promotion(source, done, Goal(LIMIT, costs=(0.1, 1.0)), 0)
    }


def test_an_uncertain_value_is_no_point_of_the_front_and_is_not_promoted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = table()
    source = TableSource(small, {"ms": small.columns["ms"]}, "ms", 0.0, LIMIT)
    within = np.flatnonzero(small.columns["ms"] <= LIMIT)[::2]
    seen = [
        Observation(small.params[i], 0, small.columns["quick"][i], small.columns["ms"][i]) for i in within
    ]
    fastest = int(np.argmin(small.columns["ms"][within]))
    lucky = replace(seen[fastest], value=1000.0)
    goal, promoting = Goal(LIMIT), Goal(LIMIT, costs=(0.1, 1.0))
    exact, part = (
        [*seen[:fastest], one, *seen[fastest + 1 :]] for one in (lucky, replace(lucky, error=50.0))
    )
    assert key_of(rank_for_promotion(source, exact, promoting, 0)[0].params) == key_of(lucky.params)
    assert key_of(lucky.params) not in {
        key_of(one.params) for one in rank_for_promotion(source, part, promoting, 0)
    }
    here = situation(source, part, goal, 0, 0)
    assert here is not None
    _, _, noise = observed(source, here, part, 0)
    assert noise[fastest] == 50.0 and noise.sum() == 50.0
    told: list[float] = []

    def spy(ap: np.ndarray, *rest: object) -> object:
        told.extend(ap)
        return front_steps(ap, *rest)

    monkeypatch.setattr("search.samplers.scores.front_steps", spy)
    scores(source, here, part, goal, here.pool, 0, len(seen), 0)
    assert len(told) == len(seen) - 1 and 1000.0 not in told


def test_every_second_pressing_question_goes_where_nothing_like_it_was_asked() -> None:
    small = table()
    source = TableSource(small, {"ms": small.columns["ms"]}, "ms", 0.0, LIMIT)
    within = np.flatnonzero(small.columns["ms"] <= LIMIT)
    ones_of_a = [row for row in within if small.params[row]["p_kind"] == "a"]
    reasons = {}
    for count in (10, 11, 12):
        seen = [
            Observation(small.params[row], 0, small.columns["ap"][row], small.columns["ms"][row])
            for row in (ones_of_a * 2)[:count]
        ]
        here = situation(source, seen, Goal(LIMIT), 0, 0)
        assert here is not None
        score, why = scores(source, here, seen, Goal(LIMIT), here.pool, 0, len(seen), 0)
        best = int(np.argmax(score))
        reasons[count] = why(best)
        if count == 10:
            assert here.params[here.pool[best]]["p_kind"] == "b"
            assert (score > 1e-6).sum() <= 5  # among the most promising alone
    assert ["unlike" in reasons[count] for count in (10, 11, 12)] == [True, False, False]


def test_without_a_limit_or_foreknowledge() -> None:
    small = table()
    source = TableSource(small, {}, None, 0.0, None)
    seen: list[Observation] = []
    for _ in range(14):
        choice = decide(source, seen, Goal(None, "front"), 0)
        assert choice is not None
        here = small.rows[key_of(choice.params)]
        seen.append(Observation(choice.params, 0, small.columns["ap"][here], small.columns["ms"][here]))
    assert len({key_of(one.params) for one in seen}) == 14


def test_beliefs_name_what_matters_and_bracket_the_truth() -> None:
    small = table()
    source = TableSource(small, {"ms": small.columns["ms"]}, "ms", 0.0, LIMIT)
    within = np.flatnonzero(small.columns["ms"] <= LIMIT)[::2]
    seen = [Observation(small.params[i], 0, small.columns["ap"][i], small.columns["ms"][i]) for i in within]
    assert beliefs(source, seen[:3], Goal(LIMIT), 0) is None
    found = beliefs(source, seen, Goal(LIMIT), 0)
    assert found is not None
    assert next(iter(found.importance)) in ("p_width", "p_depth")
    assert all(0.0 <= share <= 1.0 + 1e-9 for share in found.importance.values())
    assert found.front and all(one.low < one.value < one.high and one.latency <= LIMIT for one in found.front)
    assert [one.latency for one in found.front] == sorted(one.latency for one in found.front)
