"""The front as Plotly figures. Takes a `FrontInfo`, computes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charts.info import FrontInfo, FrontPoint
from charts.style import ACCENT, FEASIBLE_FILL, FONT, GRID, GROUPS, INK, MUTED, PAPER, PUBLISHED

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CONFIG = {  # of the tool bar: a picture, zoom and back are enough
    "displaylogo": False,
    "modeBarButtonsToRemove": ["lasso2d", "select2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
}
_AXIS = {
    "gridcolor": GRID,
    "zeroline": False,
    "linecolor": "#cbd5e1",
    "ticks": "outside",
    "tickcolor": "#cbd5e1",
    "tickfont": {"color": MUTED},
}


def front_figure(info: FrontInfo, *, title: str | None = None) -> Figure:
    """AP against latency of everything deployed here, with the limit and the front."""
    import plotly.graph_objects as go

    figure = go.Figure()
    if info.front:
        steps = _staircase(info)
        figure.add_scatter(
            x=[x for x, _ in steps],
            y=[y for _, y in steps],
            mode="lines",
            name="Pareto front",
            line={"color": ACCENT, "width": 2},
            hoverinfo="skip",
        )
    for name in ("over", "official_over", "deployed", "official"):
        points: Sequence[FrontPoint] = getattr(info, name)
        if points:
            figure.add_scatter(**_trace(name, points, info.rightmost()))
    if info.target_ms is not None:
        _draw_limit(figure, info)
    _layout(figure, title, x_title=info.latency_title(), y_title="AP (COCO, 0.50:0.95)")
    figure.update_xaxes(type="log" if info.log_latency else "linear")
    figure.update_xaxes(range=_x_range(info), dtick="D2" if info.log_latency else None)
    figure.update_yaxes(range=info.ap_range)
    if not info.measured:
        figure.add_annotation(
            text="nothing has been deployed yet", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper",
            font={"size": 15, "color": MUTED},
        )  # fmt: skip
    return figure


def published_figure(info: FrontInfo) -> Figure:
    """The published figures on axes of their own: other data, another device, not comparable."""
    import plotly.graph_objects as go

    figure = go.Figure()
    points = sorted(info.published, key=lambda point: point.latency_ms)
    figure.add_scatter(
        x=[point.latency_ms for point in points],
        y=[point.ap for point in points],
        mode="lines+markers+text",
        name="published",
        text=[escape(point.name) for point in points],
        textposition="bottom right",
        textfont={"color": MUTED, "size": 12},
        marker={"symbol": "square-open", "size": 9, "color": PUBLISHED, "line": {"width": 2}},
        line={"color": PUBLISHED, "width": 1, "dash": "dot"},
        customdata=[escape(point.source) for point in points],
        hovertemplate="<b>%{text}</b><br>AP %{y:.3f}<br>%{x:.2f} ms<br>%{customdata}<extra>published</extra>",
        showlegend=False,
    )
    _layout(
        figure,
        "Published figures: other data and device, not comparable",
        x_title="latency, ms (Tesla T4, as published)",
        y_title="AP (COCO val2017)",
    )
    figure.update_layout(height=360)
    if points:
        figure.update_xaxes(range=[0, points[-1].latency_ms * 1.15])
        figure.update_yaxes(range=[min(p.ap for p in points) - 0.03, max(p.ap for p in points) + 0.02])
    return figure


def write_html(info: FrontInfo, path: Path, *, title: str = "Pareto front") -> None:
    """A page that opens without a network: Plotly's script is inside it."""
    figures = [front_figure(info, title=title)] + ([published_figure(info)] if info.published else [])
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=index == 0, config=CONFIG)
        for index, figure in enumerate(figures)
    ]
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<body style="margin:24px auto;max-width:1080px;font-family:{escape(FONT)};color:{INK}">'
        f"{''.join(parts)}</body></html>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _staircase(info: FrontInfo) -> list[tuple[float, float]]:
    """The best AP within every latency: flat until the next point of the front, up to the limit."""
    steps: list[tuple[float, float]] = []
    for point in info.front:
        if steps:
            steps.append((point.latency_ms, steps[-1][1]))
        steps.append((point.latency_ms, point.ap))
    end = info.target_ms or info.slowest_ms
    return [*steps, (end, steps[-1][1])]


def _trace(name: str, points: Sequence[FrontPoint], rightmost: Collection[FrontPoint]) -> dict[str, Any]:
    style = GROUPS[name]
    named = name.startswith("official")
    return {
        "x": [point.latency_ms for point in points],
        "y": [point.ap for point in points],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [point.high_ms - point.latency_ms for point in points],
            "arrayminus": [point.latency_ms - point.low_ms for point in points],
            "thickness": 1,
            "width": 0,
            "color": style.color,
        },
        "mode": "markers+text" if named else "markers",
        "text": [escape(point.title) for point in points],
        "textposition": ["bottom left" if point in rightmost else "bottom right" for point in points],
        "textfont": {"color": style.color, "size": 12},
        "name": style.label,
        "marker": {
            "symbol": style.plotly_symbol,
            "size": style.size,
            "color": style.color,
            "line": {"color": PAPER if style.filled else style.color, "width": 1 if style.filled else 1.6},
        },
        "customdata": [[_hover(point), point.number] for point in points],
        "hovertemplate": "%{customdata[0]}<extra></extra>",
    }


def _hover(point: FrontPoint) -> str:
    lines = [
        f"<b>{escape(point.title)}</b> (trial {point.number})",
        f"AP {point.ap:.4f}",
        f"{point.latency_ms:.3f} ms{' estimated' if point.estimated else ''}, "
        f"{90 if point.estimated else 95} % interval {point.low_ms:.3f} to {point.high_ms:.3f}",
        *(f"{name}: {escape(value)}" for name, value in point.details),
    ]
    return "<br>".join(lines)


def _draw_limit(figure: Figure, info: FrontInfo) -> None:
    assert info.target_ms is not None
    figure.add_vrect(
        x0=_x_floor(info), x1=info.target_ms, fillcolor=FEASIBLE_FILL, line_width=0, layer="below"
    )
    figure.add_vline(x=info.target_ms, line={"color": INK, "width": 1.2, "dash": "dash"})
    figure.add_annotation(
        x=_axis_value(info, info.target_ms),
        y=1.0,
        yref="paper",
        text=f"limit {info.target_ms:g} ms" + _too_slow(info),
        showarrow=False,
        align="right" if info.limit_is_right else "left",
        xanchor="right" if info.limit_is_right else "left",
        yanchor="top",
        xshift=-6 if info.limit_is_right else 6,
        font={"color": INK, "size": 12},
    )


def _too_slow(info: FrontInfo) -> str:
    if not info.not_deployed:
        return ""
    text = f"{info.not_deployed} more too slow to be trained"
    return f'<br><span style="color:{MUTED};font-size:11px">{text}</span>'


def _axis_value(info: FrontInfo, latency_ms: float) -> float:
    from math import log10

    return log10(latency_ms) if info.log_latency else latency_ms  # annotations on log axes take exponents


def _x_floor(info: FrontInfo) -> float:
    lows = [point.low_ms for point in info.measured]
    return min(lows, default=1.0) / 2 if info.log_latency else 0.0


def _x_range(info: FrontInfo) -> list[float] | None:
    if not info.slowest_ms:
        return None
    if info.log_latency:
        return [_axis_value(info, _x_floor(info)), _axis_value(info, info.slowest_ms * 1.4)]
    return [0.0, info.slowest_ms * 1.12]


def _layout(figure: Figure, title: str | None, *, x_title: str, y_title: str) -> None:
    heading = {"text": escape(title), "x": 0, "xref": "paper", "font": {"size": 17}} if title else None
    figure.update_layout(
        title=heading,
        template="none",
        height=480,
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        margin={"l": 70, "r": 24, "t": 84 if title else 44, "b": 60},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        hoverlabel={"bgcolor": PAPER, "bordercolor": "#cbd5e1", "align": "left", "font": {"color": INK}},
    )
    figure.update_xaxes(title={"text": x_title, "standoff": 12, "font": {"size": 13}}, **_AXIS)
    figure.update_yaxes(
        title={"text": y_title, "standoff": 12, "font": {"size": 13}}, tickformat=".3~f", **_AXIS
    )
