"""What a search believes about networks that it has not trained, as a picture. Estimates, and drawn as such."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from charts.info import FrontInfo
from charts.png import style_axes
from charts.style import ACCENT, INK, PUBLISHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PredictedPoint(NamedTuple):
    """AP (0..1) foretold for one network with its 95 % interval, at a latency that is foretold too."""

    latency_ms: float
    ap: float
    low: float
    high: float


def predicted_png(info: FrontInfo, predicted: Sequence[PredictedPoint], path: Path) -> None:
    """Draw the predicted front as a band beside what was deployed.

    Args:
        predicted: by rising latency.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = predicted_figure(info, predicted)
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def predicted_figure(info: FrontInfo, predicted: Sequence[PredictedPoint]) -> Figure:
    """The figure of `predicted_png`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 5.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    latency = [point.latency_ms for point in predicted]
    axes.fill_between(
        latency,
        [max(point.low, 0.0) for point in predicted],
        [min(point.high, 1.0) for point in predicted],
        color=PUBLISHED,
        alpha=0.15,
        linewidth=0,
        label="95 % interval",
    )
    axes.plot(
        latency,
        [point.ap for point in predicted],
        color=PUBLISHED,
        linestyle=":",
        marker="o",
        markersize=4,
        markerfacecolor="none",
        label="predicted front of networks not trained yet",
    )
    measured = info.deployed + info.official
    axes.scatter(
        [point.latency_ms for point in measured],
        [point.ap for point in measured],
        s=30,
        color=ACCENT,
        label="deployed, within the limit",
        zorder=3,
    )
    if info.target_ms is not None:
        axes.axvline(info.target_ms, color=INK, linewidth=1, linestyle="--")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    style_axes(
        axes,
        "What the search believes (estimated)",
        "latency, ms (predicted networks: foretold)",
        "AP (COCO, 0.50:0.95)",
    )
    return figure
