"""The reading half of the repository: records out, nothing in."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine

from foundation.errors import UserError
from storage import _reading
from storage.database import memory_engine, open_engine, schema_version
from storage.overview import Overview, count_by_state, overview
from storage.records import ArtefactRecord, EventRecord, StudyRecord, TrialRecord
from storage.states import TrialState
from storage.transaction import run_transaction
from storage.translate import translated
from storage.urls import shown

T = TypeVar("T")


def utc_now() -> datetime:
    """The default clock. Machines that share a database must agree on it to well within a lease."""
    return datetime.now(UTC)


class Reader:
    """What is known. Every method is one read transaction, so its records belong together."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._now = now

    @classmethod
    def open(
        cls,
        url: str,
        *,
        read_only: bool = False,
        must_exist: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> Self:
        """Open a database, creating or migrating it first; with `read_only` it is never written.

        Args:
            url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/DATABASE`.
            must_exist: migrate, but never create.
        Raises:
            UserError: bad URL, unreachable, not a database, read-only, newer version, missing when it must exist.
        """
        return cls(open_engine(url, read_only=read_only, must_exist=must_exist), now)

    @classmethod
    def in_memory(cls, *, now: Callable[[], datetime] = utc_now) -> Self:
        """A database of this process alone that is gone when it is closed: for replays and tests."""
        return cls(memory_engine(), now)

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
        return self._read(_reading.problems)

    def checked(self) -> str:
        """What `problems` looks at on this kind of database, in words for people."""
        return _reading.CHECKED[self._engine.dialect.name]

    def get_study(self, name: str) -> StudyRecord:
        """The study of that name. Raises UserError that lists the known ones."""
        return self._read(lambda connection: _reading.study(connection, name, self.url))

    def list_studies(self) -> list[StudyRecord]:
        """All studies, newest first."""
        return self._read(_reading.studies)

    def trials(self, study_id: int) -> list[TrialRecord]:
        """All trials of a study by number."""
        return self._read(lambda connection: _reading.trials(connection, study_id))

    def trials_by_id(self, trial_ids: Collection[int]) -> list[TrialRecord]:
        """The trials of these ids by number; ids that are unknown are left out."""
        return self._read(lambda connection: _reading.trials(connection, None, trial_ids))

    def trial(self, trial_id: int) -> TrialRecord:
        """One trial. Raises UserError if there is none."""
        found = self.trials_by_id([trial_id])
        if not found:
            raise UserError(f"there is no trial with id {trial_id} in {self.url}; see python -m dashboard")
        return found[0]

    def overview(self, study_id: int) -> Overview:
        """Counts, the front and the best trial, without reading every trial: for a first view."""
        return self._read(lambda connection: overview(connection, study_id))

    def count_by_state(self, study_id: int) -> dict[TrialState, int]:
        """How many trials are in each state, all states named."""
        return self._read(lambda connection: count_by_state(connection, study_id))

    def events(
        self,
        study_id: int,
        *,
        trial_id: int | None = None,
        kinds: Collection[str] | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[EventRecord]:
        """The newest events of a study or of one trial, oldest of them first.

        Args:
            kinds: only events of these kinds.
            after: only events with a larger id.
        """
        return self._read(
            lambda connection: _reading.events(connection, study_id, trial_id, kinds, after, limit)
        )

    def artefacts(self, trial_id: int) -> list[ArtefactRecord]:
        """What a trial has on disk, newest last."""
        return self._read(lambda connection: _reading.artefacts(connection, trial_id))

    def samples_ms(self, measurement_id: int) -> tuple[float, ...]:
        """The raw samples of a measurement."""
        return self._read(lambda connection: _reading.samples_ms(connection, measurement_id))

    def environment(self, environment_id: int) -> Mapping[str, Any]:
        """Hardware, versions, git state and threads of a measurement."""
        return self._read(lambda connection: _reading.environment(connection, environment_id))

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one reading transaction; for other modules of this package."""
        return self._read(work)

    def now(self) -> datetime:
        """The time by this repository's clock."""
        return self._now()

    def _read(self, work: Callable[[Connection], T]) -> T:
        return run_transaction(self._engine, work, reading=True)
