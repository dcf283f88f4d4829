"""Database addresses: what is accepted, and how they are shown without their password."""

import os
import re
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from foundation.errors import UserError

_EXAMPLES = "sqlite:///runs/search.db or postgresql://user:password@host/database"
_CREDENTIALS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/]*@", re.IGNORECASE)
_KEYWORD_PASSWORD = re.compile(r"(password\s*=\s*)('[^']*'|[^\s&]+)", re.IGNORECASE)


STORAGE_VARIABLE = "YOLOV6_SEARCH_STORAGE"


def url_default() -> str:
    """The address in the environment (it keeps a password off the command line), else `runs/search.db` here."""
    return os.environ.get(STORAGE_VARIABLE) or "sqlite:///runs/search.db"


def parse_url(url: str) -> URL:
    """The address with its driver filled in. Raises UserError for anything but SQLite and PostgreSQL."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # not shown: what does not parse may hold a password anywhere
        raise UserError(f"that is not a database URL; write for example {_EXAMPLES}") from None
    backend = parsed.drivername.split("+")[0]
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise UserError(
                "a search needs a database that lasts; name a file, such as sqlite:///runs/search.db"
            )
        return parsed.set(drivername="sqlite+pysqlite")
    raise UserError(f"databases of kind {backend!r} are not supported; use {_EXAMPLES}")


def shown(url: URL) -> str:
    """The address for people: no driver, password masked."""
    return mask(url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True))


def mask(text: str) -> str:
    """`text` with the passwords of every URL and `password=...` in it masked."""
    text = _CREDENTIALS.sub(r"\g<scheme>:***@", text)
    return _KEYWORD_PASSWORD.sub(r"\1***", text)


def sqlite_path(url: URL) -> Path | None:
    """The file of an SQLite address, None for a server."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
