"""Who holds a trial or a study: `host:pid:create_time`, so that a recycled process id is not mistaken."""

import os
import socket
from dataclasses import dataclass

import psutil

# Linux rounds creation times to a clock tick and may shift them by one when the clock is adjusted.
_CREATE_TIME_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Owner:
    """One process on one machine."""

    host: str
    pid: int
    create_time: float

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.create_time:.2f}"


def this_owner() -> str:
    """The running process as an owner string."""
    return str(Owner(socket.gethostname(), os.getpid(), psutil.Process().create_time()))


def parse_owner(owner: str) -> Owner | None:
    """The parts of an owner string; None if it is not one."""
    try:
        host, pid, create_time = owner.rsplit(":", 2)
        return Owner(host, int(pid), float(create_time))
    except ValueError:
        return None


def owner_alive(owner: str) -> bool:
    """Whether that process still runs. One on another machine cannot be seen: True, and its lease decides."""
    parsed = parse_owner(owner)
    if parsed is None:
        return False
    if parsed.host != socket.gethostname():
        return True
    try:
        process = psutil.Process(parsed.pid)
        same = abs(process.create_time() - parsed.create_time) < _CREATE_TIME_TOLERANCE_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def describe_owner(owner: str) -> str:
    """`process 4711 on HOST`, for messages."""
    parsed = parse_owner(owner)
    return f"process {parsed.pid} on {parsed.host}" if parsed else owner
