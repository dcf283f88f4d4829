"""Hypervolume against evaluations, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search.benchmarking.score import Yardstick

if TYPE_CHECKING:
    from search.benchmarking.play import Task


def draw_curves(task: Task, rows: Mapping[str, Sequence[Sequence[int]]], path: Path) -> None:
    """Mean over the seeds as a line, least to greatest as a band.

    Args:
        rows: by sampler, for every seed the evaluated rows in order.
    """
    from matplotlib.figure import Figure

    measure = Yardstick(task.value, task.latency, task.limit)
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, seeds in rows.items():
        length = min(len(one) for one in seeds)
        counts = np.arange(1, length + 1)
        shares = np.array(
            [[measure.share(np.array(one[: int(count)], dtype=int)) for count in counts] for one in seeds]
        )
        (line,) = axes.plot(counts, shares.mean(axis=0), label=name)
        axes.fill_between(
            counts, shares.min(axis=0), shares.max(axis=0), alpha=0.12, linewidth=0, color=line.get_color()
        )
    axes.set(xlabel="evaluations", ylabel="share of the true hypervolume", ylim=(0.0, 1.02))
    axes.set_title(f"{task.table.name}, {task.latency_name} up to {task.limit:g}", loc="left")
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=140)
