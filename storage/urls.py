"""Database addresses: what is accepted, and how they are shown without their password."""

import os
import re
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from foundation.errors import UserError
from foundation.secrets import mask, remember_secret

__all__ = ["has_password", "mask", "parse_url", "shown", "sqlite_path", "url_default"]

_EXAMPLES = "sqlite:///runs/search.db or postgresql://user:password@host/database"
# user, password up to the last @ before the query, server and the rest
_SERVER_URL = re.compile(r"(?P<head>[\w+.-]+://[^:/@?]*):(?P<password>[^?]*)@(?P<tail>[^@]*)", re.DOTALL)

STORAGE_VARIABLE = "YOLOV6_SEARCH_STORAGE"


def url_default() -> str:
    """The address in the environment (it keeps a password off the command line), else `runs/search.db` here."""
    return os.environ.get(STORAGE_VARIABLE) or "sqlite:///runs/search.db"


def parse_url(url: str) -> URL:
    """The address with its driver filled in. Raises UserError for anything but SQLite and PostgreSQL."""
    try:
        parsed = make_url(_with_quoted_password(url))
    except (ArgumentError, ValueError):
        # not shown: what does not parse may hold a password anywhere
        raise UserError(f"that is not a database URL; write for example {_EXAMPLES}") from None
    remember_secret(parsed.password)
    for name in ("password", "sslpassword"):
        given = parsed.query.get(name)
        remember_secret(given if isinstance(given, str) else None)
    backend = parsed.drivername.split("+")[0]
    if backend != "sqlite" and "@" in f"{parsed.host}{parsed.database if parsed.password else ''}":
        # not shown: what stands before that @ is a part of the password
        raise UserError(
            "the password in that database URL ends too early: percent-encode it (@ as %40, / as %2F, ? as %3F)"
        )
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


def _with_quoted_password(url: str) -> str:
    """An @, : or / inside a password, as people write it, would end it too early: part of it became the host."""
    found = _SERVER_URL.match(url)
    if found is None or url.lower().startswith("sqlite"):
        return url
    password = found["password"]
    if not set(password) & set("@:/"):
        return url
    quoted = quote(password, safe="%")
    return f"{found['head']}:{quoted}@{found['tail']}{url[found.end() :]}"


def has_password(url: str) -> bool:
    """Whether the address holds a password. Raises UserError for what is no address."""
    parsed = parse_url(url)
    return bool(parsed.password or parsed.query.get("password"))


def sqlite_path(url: URL) -> Path | None:
    """The file of an SQLite address, None for a server."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
