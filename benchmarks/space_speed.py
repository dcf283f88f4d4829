"""How fast the space is: candidates sampled and costed per second of one core, and the time of an import.

    python benchmarks/space_speed.py

Prints the median of several rounds with the slowest and the fastest.
"""

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from yolov6space.cost import cost
from yolov6space.space import Space

ROUNDS = 7
T = TypeVar("T")


def rates(work: Callable[[T], object], batches: Sequence[T], size: int) -> list[float]:
    """Items per second of processor time, batch by batch; each batch is `size` items.

    Processor time, so that other programs on the machine do not count.
    """
    found = []
    for batch in batches:
        start = time.process_time()
        work(batch)
        found.append(size / (time.process_time() - start))
    return found


def report(what: str, values: list[float], unit: str, target: str) -> None:
    """One line: median, range, and what was asked for."""
    median = statistics.median(values)
    print(
        f"{what:32s} {median:10,.2f} {unit}  ({min(values):,.2f} to {max(values):,.2f}; asked for: {target})"
    )


def import_seconds() -> float:
    """Wall time of importing what describes networks, in a new interpreter, less that of an empty one."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    return seconds("import yolov6space.space, yolov6space.cost, yolov6space.variants") - seconds("pass")


def main() -> None:
    """Measure both spaces."""
    for space in (Space.default(), Space.paper()):
        seeds = [random.Random(seed) for seed in range(ROUNDS)]
        found = rates(lambda rng, space=space: [space.sample(rng) for _ in range(10_000)], seeds, 10_000)
        report(f"sampling, {space.name} space", found, "/s", "20,000")
        batches = [[space.sample(rng).model for _ in range(1_000)] for rng in seeds]
        found = rates(lambda models: [cost(model) for model in models], batches, 1_000)
        report(f"cost, {space.name} space", found, "/s", "2,000")
    report("import", [import_seconds() for _ in range(ROUNDS)], "s", "under 0.3")


if __name__ == "__main__":
    main()
