"""Who may change a trial, and what becomes of those whose owner is gone; in memory, on SQLite and on PostgreSQL."""

import threading

import pytest

from foundation.errors import UserError
from storage import (
    DuplicateCandidateError,
    LeaseLostError,
    TrialState,
)
from tests.storage.demo import ESTIMATE, ME, OTHER


def ends(repository, trial_id):
    """Every way to end or change a trial, each as a call by ME."""
    return [
        lambda: repository.renew(trial_id, ME),
        lambda: repository.record(trial_id, owner=ME),
        lambda: repository.finish(trial_id, owner=ME),
        lambda: repository.infeasible(trial_id, ESTIMATE, "too slow", owner=ME),
        lambda: repository.fail(trial_id, "broken", owner=ME),
        lambda: repository.release(trial_id, owner=ME),
    ]


def test_claim_is_exclusive_and_named(repository, trial):
    assert repository.claim(trial, ME)
    assert not repository.claim(trial, OTHER)
    assert not repository.claim(trial, ME)
    assert repository.trial(trial).owner == ME
    assert repository.trial(trial).state is TrialState.RUNNING


def test_one_of_many_threads_gets_each_trial(another, study, repository):
    trials = [repository.add_trial(study.id, f"k{index}", {}) for index in range(10)]
    got: list[tuple[int, int]] = []
    start = threading.Barrier(4)

    def work(worker: int) -> None:
        with another() as mine:
            start.wait()
            for trial_id in trials:
                if mine.claim(trial_id, f"h:{worker}:1"):
                    got.append((trial_id, worker))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(trial_id for trial_id, _ in got) == trials
    assert {t.id: t.owner for t in repository.trials(study.id)} == {t: f"h:{worker}:1" for t, worker in got}


def test_threads_adding_the_same_candidates_make_each_once(another, study):
    added: list[int] = []
    start = threading.Barrier(4)

    def work() -> None:
        with another() as mine:
            start.wait()
            for index in range(10):
                try:
                    added.append(mine.add_trial(study.id, f"k{index}", {"i": index}))
                except DuplicateCandidateError:
                    continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with another() as repository:
        assert sorted(t.number for t in repository.trials(study.id)) == list(range(10))
    assert len(added) == 10


def test_only_the_owner_may_change_a_running_trial(repository, trial):
    repository.claim(trial, OTHER)
    for call in ends(repository, trial):
        with pytest.raises(LeaseLostError, match="running by process 2 on there"):
            call()
    assert repository.trial(trial).state is TrialState.RUNNING


@pytest.mark.parametrize("end", range(2, 5))
def test_ended_trials_never_change(repository, trial, end):
    repository.claim(trial, ME)
    ends(repository, trial)[end]()
    before = repository.trial(trial)
    assert before.state.is_finished
    assert before.finished_at is not None and before.owner is None
    for call in ends(repository, trial):
        with pytest.raises(LeaseLostError):
            call()
    assert not repository.claim(trial, ME)
    assert repository.trial(trial) == before


def test_waiting_trials_can_be_judged_but_not_finished(repository, study):
    first, second, third = (repository.add_trial(study.id, key, {}) for key in "abc")
    repository.infeasible(first, ESTIMATE, "at least 15 ms")
    repository.fail(second, "cannot be built")
    with pytest.raises(LeaseLostError, match="waiting"):
        repository.finish(third, owner=ME)
    states = [t.state for t in repository.trials(study.id)]
    assert states == [TrialState.INFEASIBLE, TrialState.FAILED, TrialState.WAITING]
    assert repository.trial(first).reason == "at least 15 ms"
    assert repository.trial(first).estimates[0].low == 15.0
    assert repository.trial(first).feasible is False


def test_release_gives_back_without_an_attempt(repository, trial):
    repository.claim(trial, ME)
    repository.release(trial, owner=ME)
    record = repository.trial(trial)
    assert (record.state, record.owner, record.attempts, record.started_at) == (
        TrialState.WAITING,
        None,
        0,
        None,
    )
    assert repository.claim(trial, OTHER)


def test_recover_takes_back_what_the_dead_held(repository, study):
    mine, theirs, waiting = (repository.add_trial(study.id, key, {}) for key in "abc")
    repository.claim(mine, ME)
    repository.claim(theirs, OTHER)
    assert repository.recover(study.id, lambda owner: owner == ME) == [theirs]
    assert [t.state for t in repository.trials(study.id)] == [
        TrialState.RUNNING,
        TrialState.WAITING,
        TrialState.WAITING,
    ]
    assert [t.attempts for t in repository.trials(study.id)] == [0, 1, 0]
    with pytest.raises(LeaseLostError):
        repository.finish(theirs, owner=OTHER)
    assert repository.trial(waiting).attempts == 0


def test_who_comes_back_late_ends_nothing_that_waits_again(repository, study, trial):
    repository.claim(trial, ME)
    repository.recover(study.id, lambda _: False)
    for call in ends(repository, trial):
        with pytest.raises(LeaseLostError, match="is waiting, not held by process 1 on here"):
            call()
    assert repository.trial(trial).state is TrialState.WAITING


def test_recover_takes_back_expired_leases_even_of_the_living(repository, study, trial, clock):
    repository.claim(trial, ME, lease_seconds=60)
    clock.advance(59)
    assert repository.recover(study.id, lambda _: True) == []
    repository.renew(trial, ME, lease_seconds=60)
    clock.advance(59)
    assert repository.recover(study.id, lambda _: True) == []
    clock.advance(1)
    assert repository.recover(study.id, lambda _: True) == [trial]
    assert repository.events(study.id)[-1].message == "process 1 on here let its lease end"


def test_a_trial_that_keeps_losing_its_worker_fails(repository, study, trial):
    for attempt in (1, 2):
        repository.claim(trial, ME)
        repository.recover(study.id, lambda _: False)
        assert (repository.trial(trial).state, repository.trial(trial).attempts) == (
            TrialState.WAITING,
            attempt,
        )
    repository.claim(trial, ME)
    repository.recover(study.id, lambda _: False)
    record = repository.trial(trial)
    assert record.state is TrialState.FAILED
    assert record.reason == "given up after 3 attempts: process 1 on here died"


def test_one_driver_at_a_time(repository, study):
    repository.hold_study(study.id, ME, is_alive=lambda _: True)
    repository.hold_study(study.id, ME, is_alive=lambda _: True)
    with pytest.raises(UserError, match="study night is being run by process 1 on here"):
        repository.hold_study(study.id, OTHER, is_alive=lambda _: True)
    assert repository.get_study("night").driver_owner == ME
    repository.hold_study(study.id, OTHER, is_alive=lambda _: False)
    assert not repository.release_study(study.id, ME)
    assert repository.release_study(study.id, OTHER)
    repository.hold_study(study.id, ME)
    assert repository.release_study(study.id, force=True)
    assert repository.get_study("night").driver_owner is None
