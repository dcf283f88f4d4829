"""Tables: every number beside where it is from."""

import pytest

from dashboard.load import FollowedStudy, Problem, load_events, load_glance, load_studies
from dashboard.tables import COLUMNS, event_table, evidence_table, trial_table
from storage import Repository, TrialState
from storage.follow import StudyFollower
from storage.front import best_feasible
from tests.storage.demo import seed_demo


@pytest.fixture(scope="module")
def snapshot(demo_url):
    study = load_glance(demo_url, "demo").study
    return FollowedStudy(demo_url, study.id).look(study)


@pytest.fixture
def sqlite_demo(tmp_path):
    url = f"sqlite:///{tmp_path}/demo.db"
    with Repository.open(url) as repository:
        yield url, repository, seed_demo(repository, trials=6)


def test_rows_say_what_kind_of_evidence_they_show(snapshot):
    table = trial_table(snapshot.trials)
    assert tuple(table.columns) == COLUMNS
    assert set(table["latency from"]) == {"deployed", "untrained", "estimated", ""}
    for trial, (_, row) in zip(snapshot.trials, table.iterrows(), strict=True):
        if trial.deployed is not None:
            assert (row["AP"], row["AP from"]) == (trial.deployed.ap, "deployed")
            assert (row["latency_ms"], row["latency from"]) == (trial.deployed_latency.median_ms, "deployed")
            assert row["within limit"] == ("yes" if row["latency_ms"] <= 8.8 else "no")
        elif trial.state == "infeasible":
            assert row["within limit"] == "no" and row["AP from"] == ""
        else:
            assert row["within limit"] == "–"


def test_evidence_lists_every_rung(snapshot):
    finished = next(t for t in snapshot.trials if t.deployed is not None)
    assert list(evidence_table(finished)["evidence"]) == [
        "AP, trained",
        "AP, deployed",
        "latency, deployed",
        "latency, untrained",
    ]
    estimated = next(t for t in snapshot.trials if t.estimates)
    assert list(evidence_table(estimated)["evidence"]) == ["latency ms, estimated"]


def test_events_of_a_trial(demo_url, snapshot):
    table = event_table(load_events(demo_url, snapshot.study, snapshot.trials[0]))
    assert list(table["event"]) == ["added", "claimed", "recorded", "finished"]


def test_empty_tables_keep_their_columns():
    assert tuple(trial_table([]).columns) == COLUMNS
    assert list(event_table([]).columns) == ["at", "event", "message"]


def test_problems_are_values(tmp_path, demo_url):
    assert isinstance(load_studies(f"sqlite:///{tmp_path}/none.db"), Problem)
    problem = load_glance(demo_url, "nope")
    assert isinstance(problem, Problem) and "it has demo, older" in problem.message


def test_only_what_has_changed_is_read_again(sqlite_demo, monkeypatch):
    url, repository, study = sqlite_demo
    one = FollowedStudy(url, study.id)
    before = one.look(study).trials
    monkeypatch.setattr(StudyFollower, "_read_all", lambda self: pytest.fail("every trial was read again"))
    assert one.look(study).trials is before
    repository.claim(before[-1].id)
    after = one.look(study).trials
    assert after[-1].state is TrialState.RUNNING
    assert [new is old for new, old in zip(after, before, strict=True)] == [True] * (len(before) - 1) + [
        False
    ]


def test_a_followed_study_says_when_its_database_is_gone_and_comes_back(sqlite_demo, tmp_path):
    url, repository, study = sqlite_demo
    one = FollowedStudy(url, study.id)
    assert one.look(study).trials
    repository.close()
    (tmp_path / "demo.db").rename(tmp_path / "away.db")
    assert isinstance(one.look(study), Problem)
    (tmp_path / "away.db").rename(tmp_path / "demo.db")
    assert len(one.look(study).trials) == 6


def test_live_while_something_runs(snapshot, demo_url):
    glance = load_glance(demo_url, "demo")
    assert glance.live
    assert glance.overview.best.trial_id == best_feasible(snapshot.trials).id
    assert isinstance(load_glance(demo_url, "nope"), Problem)
    assert snapshot.trial(3).number == 3
    assert snapshot.trial(None) is None
