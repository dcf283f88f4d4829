"""The rung of shared weights: candidates are looked at first, and only the promising ones are trained."""

from typing import Any

import pytest

from search.roles import JudgementError, SharedRung
from storage import Repository
from storage.states import Origin, TrialState
from tests.search.conducting import conductor, run
from tests.search.fakes import ap, latency_ms
from yolov6space.candidate import Candidate

COST = 0.06


def look(candidate: dict[str, Any]) -> dict[str, Any]:
    """A world where inherited weights rank candidates as trainings do, a hundredth as high."""
    value = ap(Candidate.from_dict(candidate), 5) / 100
    return {
        "figures": {"AP": value, "AP50": 2 * value},
        "protocol": {"weights": "shared"},
        "seconds": 1.0,
        "epochs": 3,
    }


def looking(repository: Repository, seen: list[str] | None = None, **rest: Any) -> Any:
    def noted(candidate: dict[str, Any]) -> dict[str, Any]:
        if seen is not None:
            seen.append(Candidate.from_dict(candidate).key)
        return look(candidate)

    one = conductor(repository, sampler="latency-aware", **rest)
    one.use(SharedRung(COST, noted))
    return one


def better_than(candidate: Candidate, known: list[Candidate]) -> bool:
    """Whether any of them is as fast and as good."""
    return any(
        ap(one, 5) >= ap(candidate, 5) and latency_ms(one) <= latency_ms(candidate)
        for one in known
        if one != candidate
    )


def test_candidates_are_looked_at_before_they_are_trained(repository: Repository) -> None:
    seen: list[str] = []
    jobs = run(looking(repository, seen), jobs=2)
    trials = repository.trials(1)
    looked = [trial for trial in trials if Origin.SHARED in trial.evaluations]
    assert len(jobs) == 2 and len(looked) >= 10 and len(seen) == len(set(seen)) == len(looked)
    assert TrialState.WAITING in {trial.state for trial in looked}
    assert all(trial.only_looked_at for trial in looked if trial.state is TrialState.WAITING)
    assert all(trial.untrained_latency is not None for trial in looked)
    # what is trained is on the front of all that was looked at, while most of it is not
    known = [Candidate.from_dict(trial.spec) for trial in looked]
    chosen = [Candidate.from_dict(job.candidate) for job in jobs]
    assert not any(better_than(one, known) for one in chosen)
    assert sum(better_than(one, known) for one in known) > len(chosen)


def test_an_interrupted_search_goes_on_without_looking_twice(repository: Repository) -> None:
    seen: list[str] = []
    one = looking(repository, seen)
    run(one, jobs=1)
    one.release_running()
    before = len(seen)
    again = looking(repository, seen)
    run(again, jobs=2)
    assert before >= 10 and len(seen) == len(set(seen))
    states = [trial.state for trial in repository.trials(1)]
    assert states.count(TrialState.FINISHED) == states.count(TrialState.RUNNING) == 1


@pytest.mark.parametrize("answer", [None, JudgementError("the process died")])
def test_where_no_look_is_to_be_had_a_candidate_is_trained_at_once(
    repository: Repository, answer: JudgementError | None
) -> None:
    def unable(candidate: dict[str, Any]) -> None:
        if answer is not None:
            raise answer

    one = conductor(repository, sampler="latency-aware")
    one.use(SharedRung(COST, unable))
    assert len(run(one, jobs=2)) == 2
    assert not any(Origin.SHARED in trial.evaluations for trial in repository.trials(1))
