"""SQLite files: what has to be true of a path before a database is opened there."""

import os
from pathlib import Path

from foundation.errors import UserError


def prepare_file(path: Path, *, read_only: bool, must_exist: bool) -> None:
    """Make the folder of a new database. Raises UserError: missing, a folder, or not to be written."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a database file, such as sqlite:///{path}/search.db")
    if (read_only or must_exist) and not path.exists():
        raise UserError(
            f"there is no database at {path}; run python -m search.run first, or name it with --storage"
        )
    if read_only:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path.parent} for the database: {error.strerror}") from None
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.W_OK):
            what = "the folder" if place.is_dir() else "the file"
            raise UserError(
                f"cannot write the database {path}: {what} {place} is read-only (SQLite writes beside its file "
                "too); copy it to a place you may write and name that with --storage sqlite:///FILE"
            )


def read_only_address(path: Path) -> str:
    """The URI that opens a database without writing anything, also in a folder nobody may write.

    There SQLite could not make the files by which readers and writers agree, so the file is read as one that
    never changes. Raises UserError if recent changes lie beside it that could not be read this way.
    """
    address = path.resolve().as_uri()
    log = path.with_name(path.name + "-wal")
    if os.access(path.parent, os.W_OK) or path.with_name(path.name + "-shm").exists():
        return f"{address}?mode=ro"
    if log.exists() and log.stat().st_size:
        raise UserError(
            f"the database {path} lies in a read-only folder and has changes not merged yet ({log.name}); copy "
            "both files to a folder you may write, and name that copy with --storage"
        )
    return f"{address}?mode=ro&immutable=1"
