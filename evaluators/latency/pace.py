"""How fast the processor itself is just now: fixed pieces of work, timed between passes of the network.

A virtual machine's neighbours, shared caches, the clock of the processor, and where the host has put our
virtual cores make everything slower by up to half for seconds or minutes. Neither the load nor the stolen time of
the machine shows it. Work that never changes does, see docs/latency.md: a float network followed the
matrix products, an int8 network the time that the cores need to meet and the share of the last cache that
neighbours leave.
"""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

SLOWER = 1.10  # times the best of the last day from which the processor counts as slow
REMEMBERED_HOURS = 24
_SIDE, _PRODUCTS = 256, 8  # about 3 ms of float32 products that fit into a core's own cache
_SHARE, _MEETINGS = 40_000, 40  # elements for each core: more than torch gives to one alone
_FAR_SHARE, _SWEEPS = 2**19, 5  # floats for each core, read and written: 4 MiB, more than its own cache holds
_TYPICAL_BEST = 0.1  # quantile of a run's readings that counts as its best: no single lucky one
_ENOUGH = 5  # readings of a run before they are remembered

Reading = tuple[float, ...]  # milliseconds, one for every piece of work


class Pace:
    """Readings of one run, against the best that this machine has shown in the last day."""

    def __init__(self, work: Callable[[], Reading], memory: Path) -> None:
        self._work = work
        self._memory = memory
        self._known = _remembered(memory)
        self.readings: list[Reading] = []

    def is_slow(self) -> bool:
        """Take a reading; whether any piece of work took longer than its best by more than `SLOWER`."""
        self.readings.append(self._work())
        if len(self.readings) == 1:  # other pieces of work, of another version, say nothing about these
            self._known = {
                hour: best for hour, best in self._known.items() if len(best) == len(self.readings[0])
            }
        return any(now > SLOWER * best for now, best in zip(self.readings[-1], self._best(), strict=True))

    @property
    def slowdown(self) -> float:
        """Median of this run over the best of the last day, of the work that suffered most; at least 1."""
        if not self.readings:
            return 1.0
        return max(1.0, *np.median(self.readings, axis=0) / self._best())

    def remember(self) -> None:
        """Keep what this run has shown for those that follow; a memory that cannot be written is none."""
        if len(self.readings) < _ENOUGH:
            return
        hour = _this_hour()
        best = np.minimum(self._own(), self._known.get(hour, np.inf)).tolist()
        part = self._memory.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            part.write_text(json.dumps({**self._known, hour: best}))
            part.replace(self._memory)

    def _best(self) -> Reading:
        own = [self._own()] if len(self.readings) >= _ENOUGH else []
        candidates = [*self._known.values(), *own] or [self.readings[0]]
        return tuple(np.min(candidates, axis=0).tolist())

    def _own(self) -> Reading:
        return tuple(np.quantile(self.readings, _TYPICAL_BEST, axis=0).tolist())


@contextlib.contextmanager
def processor_pace(threads: int) -> Iterator[Pace]:
    """The pace of as many cores as the engine uses.

    Products on each alone, a sweep of all over more memory than their own caches hold, and how long they take
    to meet.
    """
    import torch
    from threadpoolctl import threadpool_limits

    matrices = [np.full((_SIDE, _SIDE), 0.5, np.float32) for _ in range(threads)]
    outs = [np.empty_like(matrix) for matrix in matrices]
    near, far = torch.zeros(_SHARE * threads), torch.zeros(_FAR_SHARE * threads)
    near_sums, far_sums = torch.empty_like(near), torch.empty_like(far)

    def work() -> Reading:
        alone = max(
            pool.map(
                lambda each: _median_ms(lambda: np.dot(each[0], each[0], out=each[1]), _PRODUCTS),
                zip(matrices, outs, strict=True),
            )
        )
        sweep = _median_ms(lambda: torch.add(far, 1.0, out=far_sums), _SWEEPS)
        if threads == 1:
            return alone, sweep
        return alone, sweep, _median_ms(lambda: torch.add(near, 1.0, out=near_sums), _MEETINGS)

    memory = Path(tempfile.gettempdir()) / f"yolov6-search-pace-{threads}-threads-{os.getuid()}.json"
    with ThreadPoolExecutor(threads) as pool, threadpool_limits(1, user_api="blas"), _torch_threads(threads):
        pace = Pace(work, memory)
        yield pace
        pace.remember()


def _median_ms(run: Callable[[], object], times: int) -> float:
    passes = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        passes.append(time.perf_counter() - start)
    return float(np.median(passes)) * 1e3


@contextlib.contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _this_hour() -> str:
    return str(int(time.time() // 3600))


def _remembered(memory: Path) -> dict[str, Reading]:
    """Best of each of the last hours; empty where nothing usable is there."""
    try:
        found = json.loads(memory.read_text())
        recent = int(_this_hour()) - REMEMBERED_HOURS
        known = {
            hour: tuple(float(best) for best in bests) for hour, bests in found.items() if int(hour) > recent
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    usable = len({len(bests) for bests in known.values()}) == 1 and all(
        bests and min(bests) > 0 for bests in known.values()
    )
    return known if usable else {}
