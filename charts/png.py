"""The front as a picture, by matplotlib: needs no browser and no display."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from charts.info import FrontInfo
from charts.style import ACCENT, GRID, GROUPS, INK, MUTED, PUBLISHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TEXT_POINTS = 9
_EMPTY = "nothing has been deployed yet"


def front_png(info: FrontInfo, path: Path, *, title: str = "Pareto front") -> None:
    """Draw the front; published figures, where given, get a panel of their own on the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 5.2) if info.published else (8.2, 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    if info.published:
        left, right = figure.subplots(1, 2, width_ratios=(2.1, 1))
        _draw_published(right, info)
    else:
        left = figure.subplots()
    _draw_front(left, info, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_front(axes: Axes, info: FrontInfo, title: str) -> None:
    from matplotlib.patheffects import withStroke

    if info.front:
        axes.step(
            [point.latency_ms for point in info.front] + [info.target_ms or info.slowest_ms],
            [point.ap for point in info.front] + [info.front[-1].ap],
            where="post",
            color=ACCENT,
            linewidth=1.6,
            label="Pareto front",
            zorder=2,
        )
    for name, style in GROUPS.items():
        points = getattr(info, name)
        if not points:
            continue
        axes.errorbar(
            [point.latency_ms for point in points],
            [point.ap for point in points],
            xerr=[
                [point.latency_ms - point.low_ms for point in points],
                [point.high_ms - point.latency_ms for point in points],
            ],
            fmt=style.matplotlib_marker,
            color=style.color,
            markersize=style.size * 0.7,
            markerfacecolor=style.color if style.filled else "none",
            markeredgecolor="white" if style.filled else style.color,
            markeredgewidth=0.8 if style.filled else 1.2,
            elinewidth=0.9,
            label=style.label,
            zorder=3,
        )
        if name.startswith("official"):
            for point in points:
                left = point in info.rightmost()
                label = axes.annotate(
                    point.title, (point.latency_ms, point.ap), xytext=(-6 if left else 6, -4),
                    textcoords="offset points", va="top", ha="right" if left else "left",
                    fontsize=_TEXT_POINTS, color=style.color,
                )  # fmt: skip
                label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    if info.log_latency:
        _log_axis(axes)
        axes.set_xlim(min(point.low_ms for point in info.measured) / 2, 1.4 * info.slowest_ms)
    else:
        axes.set_xlim(0, 1.12 * info.slowest_ms or 1.0)
    if info.ap_range is not None:
        axes.set_ylim(info.ap_range)
    if info.target_ms is not None:
        axes.axvspan(axes.get_xlim()[0], info.target_ms, color=ACCENT, alpha=0.06, linewidth=0, zorder=0)
        axes.axvline(info.target_ms, color=INK, linewidth=1, linestyle="--", zorder=1)
        right = info.limit_is_right
        axes.annotate(
            _limit_label(info), (info.target_ms, 1), xycoords=("data", "axes fraction"),
            xytext=(-5 if right else 5, -5), textcoords="offset points",
            ha="right" if right else "left", va="top", fontsize=_TEXT_POINTS, color=INK,
        )  # fmt: skip
    if info.measured:
        axes.legend(frameon=False, fontsize=_TEXT_POINTS, loc="lower right")
    else:
        axes.text(0.5, 0.5, _EMPTY, transform=axes.transAxes, ha="center", color=MUTED)
    style_axes(axes, title, info.latency_title(), "AP (COCO, 0.50:0.95)")


def _limit_label(info: FrontInfo) -> str:
    too_slow = f"\n{info.not_deployed} more too slow to be trained" if info.not_deployed else ""
    return f"limit {info.target_ms:g} ms{too_slow}"


def _draw_published(axes: Axes, info: FrontInfo) -> None:
    points = sorted(info.published, key=lambda point: point.latency_ms)
    axes.plot(
        [point.latency_ms for point in points],
        [point.ap for point in points],
        linestyle=":",
        marker="s",
        markersize=5,
        markerfacecolor="none",
        linewidth=1,
        color=PUBLISHED,
    )
    for point in points:
        axes.annotate(
            point.name, (point.latency_ms, point.ap), xytext=(5, -3), textcoords="offset points", va="top",
            fontsize=_TEXT_POINTS - 1, color=MUTED,
        )  # fmt: skip
    axes.margins(x=0.25)
    style_axes(
        axes,
        "Published (not comparable)",
        "latency, ms (Tesla T4, as published)",
        "AP (COCO val2017)",
    )


def _log_axis(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def style_axes(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """One look for the axes of every picture."""
    axes.set_title(title, loc="left", fontsize=12, color=INK, pad=10)
    axes.set_xlabel(x_label, fontsize=10, color=INK)
    axes.set_ylabel(y_label, fontsize=10, color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=_TEXT_POINTS)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#cbd5e1")
