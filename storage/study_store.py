"""Studies: made, held by one driver at a time, and annotated."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from foundation.errors import UserError
from storage._writing import add_event
from storage.models import Study
from storage.owners import describe_owner, owner_alive, this_owner
from storage.reader import Reader
from storage.records import StudyRecord
from storage.translate import translated


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
        with self._writing() as session:
            if session.scalars(select(Study.id).where(Study.name == name)).first() is not None:
                raise UserError(
                    f"study {name!r} exists already in {self.url}; add --resume or choose another name"
                )
            values = {"name": name, "created_at": self._now(), "target_latency_ms": target_latency_ms}
            study_id = session.scalars(
                insert(Study).values(**values, settings=dict(settings)).returning(Study.id)
            ).one()
            add_event(session, study_id, None, self._now(), "created", f"study {name}")
        return self.get_study(name)

    def hold_study(
        self, study_id: int, owner: str | None = None, *, is_alive: Callable[[str], bool] = owner_alive
    ) -> None:
        """Make `owner` (default: this process) the one driver of a study until `release_study`.

        A driver that is known to be dead is replaced. Raises UserError if another one is running it.
        """
        owner = owner or this_owner()
        with self._writing() as session:
            row = session.execute(
                select(Study.name, Study.driver_owner).where(Study.id == study_id).with_for_update()
            ).one()
            if row.driver_owner not in (None, owner) and is_alive(row.driver_owner):
                raise UserError(
                    f"study {row.name} is being run by {describe_owner(row.driver_owner)}; end that or choose"
                    f" another --study (machine gone? free it: python -m storage release --study {row.name})"
                )
            session.execute(update(Study).where(Study.id == study_id).values(driver_owner=owner))

    def release_study(self, study_id: int, owner: str | None = None, *, force: bool = False) -> bool:
        """Give up being the driver; `force` takes it from whoever is. Returns whether anything changed."""
        held = Study.driver_owner.is_not(None) if force else Study.driver_owner == (owner or this_owner())
        with self._writing() as session:
            return changed(session, update(Study).where(Study.id == study_id, held).values(driver_owner=None))

    def add_event(self, study_id: int, kind: str, message: str, *, trial_id: int | None = None) -> None:
        """Note something worth knowing later."""
        with self._writing() as session:
            add_event(session, study_id, trial_id, self._now(), kind, message)

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with translated(self._engine.url), Session(self._engine) as session, session.begin():
            yield session


def changed(session: Session, statement: Any) -> bool:
    """Run an UPDATE of at most one row; whether its conditions still held."""
    result = session.execute(statement, execution_options={"synchronize_session": False})
    assert isinstance(result, CursorResult)
    return result.rowcount == 1
