"""Studies: made, held by one driver at a time, and annotated."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, select, update

from foundation.errors import UserError
from storage._statements import INSERT_STUDY
from storage._writing import add_event
from storage.errors import LeaseLostError
from storage.models import Study, Trial
from storage.owners import describe_owner, owner_alive, this_owner
from storage.reader import Reader
from storage.records import StudyRecord
from storage.states import TrialState
from storage.transaction import run_transaction

T = TypeVar("T")

LEASE_SECONDS = 120.0


class StudyStore(Reader):
    """The part of the repository that writes studies; the contract is in `storage/repository.py`."""

    def create_study(
        self, name: str, settings: Mapping[str, Any], *, target_latency_ms: float | None = None
    ) -> StudyRecord:
        """Make a study. `settings`: JSON values (space, data, workload, seed, ...).

        Raises UserError if the name is taken or empty.
        """
        if not name.strip() or len(name) > 200:
            raise UserError("a study needs a name of 1 to 200 characters; give one with --study")
        taken = UserError(f"study {name!r} exists already in {self.url}; add --resume or choose another name")

        def work(connection: Connection) -> None:
            if connection.scalar(select(Study.id).where(Study.name == name)) is not None:
                raise taken
            values = {"name": name, "created_at": self._now(), "target_latency_ms": target_latency_ms}
            study_id = connection.execute(INSERT_STUDY, {**values, "settings": dict(settings)}).scalar_one()
            add_event(connection, study_id, None, self._now(), "created", f"study {name}")

        self._write(work, durable=True)
        return self.get_study(name)

    def complete_settings(self, study_id: int, settings: Mapping[str, Any]) -> StudyRecord:
        """Add the settings that the study has not; those it has stay as they are."""

        def work(connection: Connection) -> str:
            found = (
                select(Study.name, Study.settings).where(Study.id == study_id).with_for_update(key_share=True)
            )
            row = connection.execute(found).one()
            if settings.keys() - row.settings.keys():
                both = {**settings, **row.settings}
                connection.execute(update(Study).where(Study.id == study_id).values(settings=both))
            name: str = row.name
            return name

        return self.get_study(self._write(work, durable=True))

    def hold_study(
        self,
        study_id: int,
        owner: str | None = None,
        *,
        is_alive: Callable[[str], bool] = owner_alive,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """Make `owner` (default: this process) the one driver of a study until `release_study`.

        A driver that is known to be dead, or whose lease has ended, is replaced. Raises UserError if another
        one is running it.
        """
        owner = owner or this_owner()
        found = (
            select(Study.name, Study.driver_owner, Study.driver_expires_at)
            .where(Study.id == study_id)
            .with_for_update(key_share=True)
        )

        def work(connection: Connection) -> None:
            row = connection.execute(found).one()
            now = self._now()
            if row.driver_owner not in (None, owner):
                left = (row.driver_expires_at - now).total_seconds()
                if left > 0 and is_alive(row.driver_owner):
                    raise UserError(
                        f"study {row.name} is being run by {describe_owner(row.driver_owner)}; end that or "
                        f"choose another --study (machine gone? its lease ends in {left:.0f} s, or free it now:"
                        f" python -m storage release --study {row.name})"
                    )
                message = f"{describe_owner(row.driver_owner)} {'died' if left > 0 else 'let its lease end'}"
                add_event(connection, study_id, None, now, "driver replaced", message)
            values = {"driver_owner": owner, "driver_expires_at": now + timedelta(seconds=lease_seconds)}
            connection.execute(update(Study).where(Study.id == study_id).values(**values))

        self._write(work)

    def renew_study(
        self, study_id: int, owner: str | None = None, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        """Keep the study and every running trial of its driver for another lease.

        Raises LeaseLostError if another driver has the study, or it was released.
        """
        owner = owner or this_owner()

        def work(connection: Connection) -> None:
            expires = self._now() + timedelta(seconds=lease_seconds)
            mine = (Study.id == study_id, Study.driver_owner == owner)
            study = update(Study).where(*mine).values(driver_expires_at=expires).returning(Study.id)
            if connection.scalar(study) is None:
                holder = connection.scalar(select(Study.driver_owner).where(Study.id == study_id))
                by = f"run by {describe_owner(holder)}" if holder else "released"
                raise LeaseLostError(f"study {study_id} is {by}, not held by {describe_owner(owner)}")
            running = (Trial.study_id == study_id, Trial.state == str(TrialState.RUNNING))
            trials = update(Trial).where(*running, Trial.lease_owner == owner)
            connection.execute(trials.values(lease_expires_at=expires))

        self._write(work)

    def release_study(self, study_id: int, owner: str | None = None, *, force: bool = False) -> bool:
        """Give up being the driver; `force` takes it from whoever is. Returns whether anything changed."""
        held = Study.driver_owner.is_not(None) if force else Study.driver_owner == (owner or this_owner())
        free = update(Study).where(Study.id == study_id, held)
        free = free.values(driver_owner=None, driver_expires_at=None)
        return self._write(lambda connection: connection.scalar(free.returning(Study.id)) is not None)

    def add_event(
        self,
        study_id: int,
        kind: str,
        message: str,
        *,
        trial_id: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Note something worth knowing later: `message` for people, `data` (JSON values) for programs."""
        self._write(
            lambda connection: add_event(connection, study_id, trial_id, self._now(), kind, message, data)
        )

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one writing transaction; for other modules of this package."""
        return self._write(work, durable=True)

    def _write(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        return run_transaction(self._engine, work, durable=durable)
