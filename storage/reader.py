"""The reading half of the repository: records out, nothing in."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from foundation.errors import UserError
from storage import _reading
from storage.database import open_engine, schema_version
from storage.records import ArtefactRecord, EventRecord, StudyRecord, TrialRecord
from storage.states import TrialState
from storage.translate import translated
from storage.urls import shown


def utc_now() -> datetime:
    """The default clock. Machines that share a database must agree on it to well within a lease."""
    return datetime.now(UTC)


class Reader:
    """What is known. Every method is one read transaction, so its records belong together."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._now = now

    @classmethod
    def open(cls, url: str, *, read_only: bool = False, now: Callable[[], datetime] = utc_now) -> Self:
        """Open a database, creating or migrating it first; with `read_only` it is never written.

        Args:
            url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/DATABASE`.
        Raises:
            UserError: bad URL, unreachable, not a database, read-only, newer version, missing when read-only.
        """
        return cls(open_engine(url, read_only=read_only), now)

    @property
    def url(self) -> str:
        """The address for people, its password masked."""
        return shown(self._engine.url)

    def close(self) -> None:
        """Give the connections back; the repository may be used again and then opens new ones."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def version(self) -> str | None:
        """Version of the schema; None while there is none."""
        with translated(self._engine.url):
            return schema_version(self._engine)

    def problems(self) -> list[str]:
        """What the database itself finds wrong with its contents; empty when it is sound."""
        with self._reading() as session:
            return _reading.problems(session)

    def get_study(self, name: str) -> StudyRecord:
        """The study of that name. Raises UserError that lists the known ones."""
        with self._reading() as session:
            return _reading.study(session, name, self.url)

    def list_studies(self) -> list[StudyRecord]:
        """All studies, newest first."""
        with self._reading() as session:
            return _reading.studies(session)

    def trials(self, study_id: int) -> list[TrialRecord]:
        """All trials of a study by number."""
        with self._reading() as session:
            return _reading.trials(session, study_id)

    def trial(self, trial_id: int) -> TrialRecord:
        """One trial. Raises UserError if there is none."""
        with self._reading() as session:
            found = _reading.trials(session, None, trial_id)
        if not found:
            raise UserError(f"there is no trial with id {trial_id} in {self.url}; see python -m dashboard")
        return found[0]

    def count_by_state(self, study_id: int) -> dict[TrialState, int]:
        """How many trials are in each state, all states named."""
        with self._reading() as session:
            return _reading.count_by_state(session, study_id)

    def events(self, study_id: int, *, trial_id: int | None = None, limit: int = 1000) -> list[EventRecord]:
        """The newest events of a study or of one trial, oldest of them first."""
        with self._reading() as session:
            return _reading.events(session, study_id, trial_id, limit)

    def artefacts(self, trial_id: int) -> list[ArtefactRecord]:
        """What a trial has on disk, newest last."""
        with self._reading() as session:
            return _reading.artefacts(session, trial_id)

    def samples_ms(self, measurement_id: int) -> tuple[float, ...]:
        """The raw samples of a measurement."""
        with self._reading() as session:
            return _reading.samples_ms(session, measurement_id)

    def environment(self, environment_id: int) -> Mapping[str, Any]:
        """Hardware, versions and threads of a measurement."""
        with self._reading() as session:
            return _reading.environment(session, environment_id)

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        engine = self._engine.execution_options(reading=True)
        with translated(self._engine.url), Session(engine) as session, session.begin():
            yield session
