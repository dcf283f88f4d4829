"""Folders for temporary files that do not outlive a killed process for long.

Every folder is locked (flock) by the process that made it, as long as that lives; whoever makes the next one removes
those that nobody holds. The kernel drops a lock however its process dies.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_PREFIX = "yolov6-scratch-"


class Scratch:
    """A new, empty folder among the system's temporary ones, gone when the block or the process ends."""

    def __init__(self, purpose: str) -> None:
        """`purpose`: part of its name."""
        _sweep()
        while True:
            self._folder = tempfile.TemporaryDirectory(
                prefix=f"{_PREFIX}{purpose}-", ignore_cleanup_errors=True
            )
            self.path = Path(self._folder.name)
            lock = _lock(self.path, fcntl.LOCK_EX)
            if lock is not None or self.path.is_dir():  # where nothing can be locked nobody sweeps either
                break  # else somebody swept it before we held it
            self._folder.cleanup()
        self._lock: int | None = lock

    def cleanup(self) -> None:
        """Remove the folder; once more is harmless."""
        self._folder.cleanup()
        if self._lock is not None:
            _unlock(self._lock)
            self._lock = None

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cleanup()


def _sweep() -> None:
    """Remove our own folders whose maker is dead."""
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if not entry.name.startswith(_PREFIX) or not entry.is_dir(follow_symlinks=False):
                continue
            if entry.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
            lock = _lock(Path(entry.path), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if lock is not None:
                shutil.rmtree(entry.path, ignore_errors=True)
                _unlock(lock)


def _lock(folder: Path, kind: int) -> int | None:
    """A descriptor that holds the folder; None when it is gone, held by another, or cannot be locked."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, kind)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    except OSError:
        pass
    _unlock(descriptor)
    return None


def _unlock(descriptor: int) -> None:
    with suppress(OSError):
        # before closing: a child forked meanwhile shares the lock and would keep it
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
