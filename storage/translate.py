"""Driver errors into one line a person can act on, in one place."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from foundation.errors import UserError
from storage.errors import RecordRefusedError
from storage.urls import mask, shown

_SQLITE_HINTS = {
    "SQLITE_NOTADB": "is not an SQLite database; name another file",
    "SQLITE_CORRUPT": "is damaged; restore a copy or name another file",
    "SQLITE_READONLY": "cannot be written: the file or its folder is read-only",
    "SQLITE_FULL": "cannot grow: no space left on the device; free some and run again, nothing is lost",
    "SQLITE_IOERR": "cannot be read or written: the disk reports an error (is it full?)",
    "SQLITE_CANTOPEN": "cannot be opened; does the folder exist, and may you read it?",
    "SQLITE_PERM": "cannot be opened; you lack the permission",
    "SQLITE_BUSY": "is locked by another program for too long; end it and run again",
    "SQLITE_LOCKED": "is locked by another program for too long; end it and run again",
}
_POSTGRES_HINTS = {
    "28P01": "refuses the password; correct it in --storage or YOLOV6_SEARCH_STORAGE",
    "28000": "refuses this user; name another one in the address",
    "3D000": "has no such database; create it first (createdb)",
    "42501": "does not give this user the rights it needs",
    "53100": "has no space left on its disk; free some and run again, nothing stored is lost",
    "53300": "has too many connections; use fewer workers or raise max_connections",
    "25006": "is read-only (a standby?); name one that can be written",
    "40001": "could not serialize a transaction; run again",
    "40P01": "found a deadlock; run again",
    "57P01": "was shut down; start it and run again, nothing stored is lost",
    "57P03": "is starting up or shutting down; try again in a moment",
}

# a connection that the server refuses arrives without its code
_REFUSED_POSTGRES = (
    (re.compile(r"authentication failed"), "28P01"),
    (re.compile(r"role .* does not exist|no pg_hba\.conf entry"), "28000"),
    (re.compile(r"database .* does not exist"), "3D000"),
    (re.compile(r"too many clients|connection slots"), "53300"),
    (re.compile(r"(starting up|shutting down)"), "57P03"),
)

_PASSING_POSTGRES = ("08", "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300")
_PASSING_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED")


def is_passing(error: DBAPIError, url: URL) -> bool:
    """Whether trying again later may help: connection lost, server restarting, deadlock, held lock."""
    if url.get_backend_name() == "sqlite":
        return (getattr(error.orig, "sqlite_errorname", None) or "").startswith(_PASSING_SQLITE)
    sqlstate = _sqlstate(error)
    if sqlstate is None:  # not told by the server, so the way to it is broken
        return error.connection_invalidated or isinstance(error, OperationalError)
    return sqlstate.startswith(_PASSING_POSTGRES)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Run database work; driver errors leave as UserError, broken constraints as RecordRefusedError.

    The original exception is dropped on purpose (`from None`): its text or parameters may hold a password.
    """
    try:
        yield
    except IntegrityError as error:
        raise RecordRefusedError(f"refused by the database: {_one_line(error)}") from None
    except DataError as error:
        raise RecordRefusedError(f"cannot be stored: {_one_line(error)}") from None
    except DBAPIError as error:
        raise UserError(_message(url, error)) from None
    except StatementError as error:
        if isinstance(error.orig, RecordRefusedError):
            raise error.orig from None
        raise RecordRefusedError(f"cannot be stored: {_one_line(error)}") from None
    except PoolTimeout:
        raise UserError(f"database {shown(url)} gives no connection in time; try again") from None


def _message(url: URL, error: DBAPIError) -> str:
    # extended codes such as SQLITE_READONLY_DBMOVED and SQLITE_IOERR_WRITE begin with the plain one
    sqlite_name = getattr(error.orig, "sqlite_errorname", None) or ""
    for prefix, hint in _SQLITE_HINTS.items():
        if sqlite_name.startswith(prefix):
            return f"database {shown(url)} {hint}"
    sqlstate = _sqlstate(error) if url.get_backend_name() == "postgresql" else None
    if sqlstate in _POSTGRES_HINTS:
        return f"database {shown(url)} {_POSTGRES_HINTS[sqlstate]}"
    if error.connection_invalidated or (url.get_backend_name() == "postgresql" and sqlstate is None):
        return f"database {shown(url)} cannot be reached: {_one_line(error)}; is the server running?"
    return f"database {shown(url)} reports: {_one_line(error)}"


def _sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's code of an error; None if the server did not say anything."""
    told: str | None = getattr(error.orig, "sqlstate", None)
    if told is None:
        text = str(error.orig)
        return next((code for words, code in _REFUSED_POSTGRES if words.search(text)), None)
    return told


def _one_line(error: StatementError) -> str:
    text = " ".join(str(error.orig or error).split())
    return mask(text)[:300]
