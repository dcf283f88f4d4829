"""Folders that appear whole or not at all, and hashes of the files in them."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path


def put_in_place(temporary: Path, folder: Path) -> None:
    """Rename `temporary` to `folder`; what is there goes first, in one rename of its own."""
    while True:
        try:
            temporary.rename(folder)
            return
        except OSError:
            if not folder.exists():
                raise
        remove(folder)


def remove(folder: Path) -> None:
    """Take a folder away in one rename, then delete it; nothing happens when another process was first."""
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    try:
        folder.rename(old)
    except FileNotFoundError:
        pass
    finally:
        shutil.rmtree(old, ignore_errors=True)


def write_through(folder: Path) -> None:
    """Bring the folder's files and names to the disk, so that a power cut cannot empty them after a rename."""
    for path in (*sorted(folder.iterdir()), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(path: Path) -> str:
    """64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
