"""Files that are whole or absent, whenever a process is killed."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"\..+\.\d+")  # .NAME.PROCESS


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path`, durably, when the block ends well; else `path` stays as it is."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """Write so that a kill leaves either the old file or the whole new one."""
    with written_whole(path) as file:
        file.write(text.encode())


def remove_leftovers(folder: Path) -> None:
    """Delete what writers killed in the midst of a write have left; nobody may be writing there now."""
    for file in folder.glob(".*"):
        if _TEMPORARY.fullmatch(file.name) and file.is_file():
            file.unlink(missing_ok=True)
