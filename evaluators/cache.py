"""A cache of built folders, named by what they were built from and shared by any number of processes.

    <folder>/<key>/            the files of an entry and `contents.json`, their hashes
    <folder>/.building/        what is being built; a rename makes it an entry
    <folder>/.locks/<key>      flock: exclusive to build or evict, shared to use

An entry appears whole or not at all: files are written and brought to the disk in `.building`, then renamed. A
process that dies leaves no lock behind and litter only in `.building`, which the next builder of that key or the
next eviction removes. Every use checks every file against its hash; a damaged entry is built again. An entry in
use is never evicted.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from evaluators.atomic_folder import sha256_of, write_through
from foundation.errors import UserError

LIMIT_VARIABLE = "YOLOV6_SEARCH_CACHE_GIB"
DEFAULT_LIMIT_GIB = 5.0
_CONTENTS = "contents.json"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Cache:
    """Build once, use often; see the module."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """`limit_bytes`: after a build, the entries used longest ago are removed until the rest fits."""
        self.folder, self.limit_bytes = folder, limit_bytes
        self._building, self._locks = folder / ".building", folder / ".locks"
        for each in (self._building, self._locks):
            each.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def entry(self, key: str, build: Callable[[Path], None]) -> Iterator[Path]:
        """The folder of an entry, whole and verified; it stays while the block runs.

        Only one process builds a key at a time, others wait and then use what it built.

        Args:
            key: letters, digits, `.`, `_` and `-` (ValueError otherwise); names the content.
            build: writes the files, in no folders, into the empty folder given; may raise, which leaves no entry.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key for a cache")
        path = self.folder / key
        while True:
            with self._locked(key, fcntl.LOCK_SH):
                if self._is_whole(path):
                    os.utime(path / _CONTENTS)  # when it was last used
                    yield path
                    return
            with self._locked(key, fcntl.LOCK_EX):
                if not self._is_whole(path):
                    self._build(path, build)
            self._evict(keep=key)

    def keys(self) -> list[str]:
        """Keys of the entries, whole or damaged, used longest ago first."""
        entries = [path for path in self.folder.iterdir() if _KEY.fullmatch(path.name)]
        return [path.name for path in sorted(entries, key=_last_used)]

    def damaged(self) -> list[str]:
        """Keys of the entries whose files do not match their hashes."""
        return [key for key in self.keys() if not self._is_whole(self.folder / key)]

    def _build(self, path: Path, build: Callable[[Path], None]) -> None:
        self._sweep(path.name)
        temporary = Path(tempfile.mkdtemp(prefix=f"{path.name}~", dir=self._building))
        try:
            build(temporary)
            hashes = {file.name: sha256_of(file) for file in temporary.iterdir()}
            (temporary / _CONTENTS).write_text(json.dumps(hashes))
            temporary.chmod(0o755)  # mkdtemp makes it private
            write_through(temporary)
            self._discard(path)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @staticmethod
    def _is_whole(path: Path) -> bool:
        try:
            hashes = json.loads((path / _CONTENTS).read_text())
            names = {file.name for file in path.iterdir()} - {_CONTENTS}
            return names == set(hashes) and all(sha256_of(path / name) == hashes[name] for name in names)
        except (OSError, ValueError, TypeError):
            return False

    def _evict(self, keep: str) -> None:
        """Remove the entries used longest ago until the rest fits; those in use, and `keep`, stay."""
        for left in self._building.iterdir():
            self._try_alone(left.name.partition("~")[0], lambda key: self._sweep(key))
        sizes = {key: _size(self.folder / key) for key in self.keys()}
        excess = sum(sizes.values()) - self.limit_bytes
        for key, size in sizes.items():
            if excess <= 0:
                return
            if key != keep and self._try_alone(key, lambda key: self._discard(self.folder / key)):
                excess -= size

    def _discard(self, path: Path) -> None:
        """Take an entry away in one rename, then delete it."""
        rubbish = Path(tempfile.mkdtemp(prefix=f"{path.name}~", dir=self._building))
        with suppress(FileNotFoundError):
            path.rename(rubbish / "old")
        shutil.rmtree(rubbish, ignore_errors=True)

    def _sweep(self, key: str) -> None:
        """Remove what dead builders of that key left; call with its lock held exclusively."""
        for left in self._building.glob(f"{key}~*"):
            shutil.rmtree(left, ignore_errors=True)

    def _try_alone(self, key: str, action: Callable[[str], None]) -> bool:
        """Do something to a key nobody else uses, and drop its lock file; False when somebody does."""
        try:
            with self._locked(key, fcntl.LOCK_EX | fcntl.LOCK_NB):
                action(key)
                (self._locks / key).unlink(missing_ok=True)
        except BlockingIOError:
            return False
        return True

    @contextmanager
    def _locked(self, key: str, kind: int) -> Iterator[None]:
        """Hold a key's lock; the file may be replaced by another while we wait, then the new one counts."""
        path = self._locks / key
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, kind)
                if _is_same_file(descriptor, path):
                    yield
                    return
            finally:
                # Unlock before closing: a child forked meanwhile shares the lock and would keep it.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)


def default_cache() -> Cache:
    """The cache of this user: $YOLOV6_SEARCH_CACHE or the user's cache folder, $YOLOV6_SEARCH_CACHE_GIB large.

    Raises:
        UserError: the size is no positive number.
    """
    from evaluators.data.bundled import cache_folder

    text = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_LIMIT_GIB))
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 < limit < float("inf"):
        raise UserError(f"{LIMIT_VARIABLE} is {text!r}; give a positive number of GiB, or unset it")
    return Cache(cache_folder() / "built", int(limit * 2**30))


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _last_used(path: Path) -> float:
    try:
        return (path / _CONTENTS).stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    with suppress(OSError):
        return sum(file.stat().st_size for file in path.iterdir())
    return 0
