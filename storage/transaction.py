"""Runs one transaction, and runs it again when the database was away for a moment."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError

from storage.models import Event
from storage.translate import is_passing, translated

T = TypeVar("T")

OUTAGE_SECONDS = 120.0  # how long a database may be away before its users are told
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.05, 2.0
_LAST_EVENT = "yolov6_last_event"


def remember_event(connection: Connection, event_id: int) -> None:
    """Tell the running transaction which event it has written: the proof that it was committed."""
    connection.info[_LAST_EVENT] = event_id


def run_transaction(
    engine: Engine,
    work: Callable[[Connection], T],
    *,
    reading: bool = False,
    durable: bool = False,
    wait_seconds: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Run `work` in a transaction of its own and return what it returns.

    A lost connection, a server that restarts, a deadlock or a lock held for long lets it wait and run again,
    so `work` must not change anything but the database. When the connection is lost while committing, the
    event that the transaction wrote tells whether it was stored; then nothing is run twice.

    Args:
        reading: nothing is written; on SQLite such a transaction waits for nobody.
        durable: on SQLite, also a power cut right afterwards must not undo it. Others may lose the last
            moments before a power cut, never their consistency; PostgreSQL is always durable.
        wait_seconds: how long to try; None takes OUTAGE_SECONDS.
    Raises:
        UserError: the database is away for longer, or anything else is wrong with it.
        RecordRefusedError: a constraint was broken.
    """
    until = clock() + (OUTAGE_SECONDS if wait_seconds is None else wait_seconds)
    pause = _FIRST_WAIT_SECONDS
    options: dict[str, Any] = {"reading": reading, "durable": durable}
    if reading and engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"  # several queries, one moment
    unsure: tuple[int, T] | None = None
    with translated(engine.url):
        while True:
            result: T
            committing = False
            event_id: int | None = None
            try:
                with engine.connect().execution_options(**options) as connection:
                    connection.info.pop(_LAST_EVENT, None)
                    with connection.begin():
                        if unsure is not None and _stored(connection, unsure[0]):
                            return unsure[1]
                        result = work(connection)
                        event_id = connection.info.pop(_LAST_EVENT, None)
                        committing = True
                return result
            except DBAPIError as error:
                if not is_passing(error, engine.url) or clock() >= until:
                    raise
                if committing:  # else what was unsure stays so: this attempt may not even have connected
                    unsure = None if event_id is None else (event_id, result)
            sleep(pause)
            pause = min(2 * pause, _LONGEST_WAIT_SECONDS)


def _stored(connection: Connection, event_id: int) -> bool:
    return connection.execute(select(Event.id).where(Event.id == event_id)).first() is not None
