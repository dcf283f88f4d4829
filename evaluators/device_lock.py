"""One measurement at a time per device, undisturbed by our own work on that device.

A turnstile in front of a room. Work (training steps) shares the room, a measurement has it alone. Both
pass the turnstile first, and a measurement keeps it shut while it waits for the room to empty, so that a
stream of training steps cannot starve it.

The locks are `flock` locks on files in the system's folder for temporary files: they hold between processes
and between threads, and the kernel releases them when a process dies, however it dies.
"""

import fcntl
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

_held = threading.local()


def measuring(device: str) -> AbstractContextManager[None]:
    """Hold the device alone: waits for running work and measurements, and no new work starts meanwhile.

    Raises:
        RuntimeError: this thread holds the device already and would wait for itself.
    """
    return _inside(device, fcntl.LOCK_EX)


def working(device: str) -> AbstractContextManager[None]:
    """Share the device with other work; waits while it is being measured or somebody waits to measure.

    Hold it for short pieces of work, such as one training step: a measurement waits until all are done.

    Raises:
        RuntimeError: this thread holds the device already and would wait for itself.
    """
    return _inside(device, fcntl.LOCK_SH)


@contextmanager
def _inside(device: str, kind: int) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(_once_per_thread(device))
        turnstile = stack.enter_context(_locked(_path(device, "turnstile"), fcntl.LOCK_EX))
        stack.enter_context(_locked(_path(device, "room"), kind))
        fcntl.flock(turnstile, fcntl.LOCK_UN)  # the next one may pass
        yield


def _path(device: str, part: str) -> Path:
    name = re.sub(r"[^A-Za-z0-9._-]", "_", device).lower()
    return Path(tempfile.gettempdir()) / f"yolov6-search-{name}.{part}.lock"


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[int]:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, kind)
        yield descriptor
    finally:
        # Unlock before closing: a child forked meanwhile shares the lock and would keep it.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY)  # also when another user made the file
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)


@contextmanager
def _once_per_thread(device: str) -> Iterator[None]:
    devices: set[str] = _held.__dict__.setdefault("devices", set())
    if device in devices:
        raise RuntimeError(f"this thread holds device {device!r} already; locks cannot be nested")
    devices.add(device)
    try:
        yield
    finally:
        devices.discard(device)
