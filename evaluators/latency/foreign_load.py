"""How much of the machine others used while we measured."""

import os
import time

import psutil

MAX_FOREIGN_CORES = 0.1  # beyond the cores that the measurement leaves free
MAX_STOLEN = 0.01  # share of the machine's time that a hypervisor took


class ForeignLoad:
    """Watches from its construction to `disturbance()`; costs nothing in between."""

    def __init__(self, threads: int) -> None:
        """`threads`: cores the measurement occupies."""
        self._free_cores = max(0, (psutil.cpu_count() or 1) - threads)
        self._start = self._read()

    def disturbance(self) -> str | None:
        """Who took processor time away from us since the start, in words; None when nobody did."""
        wall, busy, own, stolen = (now - then for now, then in zip(self._read(), self._start, strict=True))
        if wall <= 0:
            return None
        foreign_cores = max(0.0, busy - own) / wall
        if foreign_cores > self._free_cores + MAX_FOREIGN_CORES:
            return f"other processes used {foreign_cores:.1f} cores during the run"
        if stolen / (wall * (psutil.cpu_count() or 1)) > MAX_STOLEN:
            return f"the hypervisor withheld {stolen / wall:.1f} cores during the run"
        return None

    @staticmethod
    def _read() -> tuple[float, float, float, float]:
        """Seconds: wall clock, busy in all processes, busy in ours, withheld by a hypervisor."""
        machine, own = psutil.cpu_times(), os.times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        stolen = getattr(machine, "steal", 0.0)
        # guest time is counted in user time already
        total = sum(machine) - getattr(machine, "guest", 0.0) - getattr(machine, "guest_nice", 0.0)
        return time.monotonic(), total - idle - stolen, own.user + own.system, stolen
