"""Published figures of the official variants, as points for a chart of their own."""

from charts.info import PublishedPoint
from yolov6space.published import PublishedFigure, published
from yolov6space.variants import official


def published_points() -> tuple[PublishedPoint, ...]:
    """AP and latency (batch 1) of every official variant that one table prints both of."""
    points = (_point(name, published(name)) for name in official())
    return tuple(point for point in points if point is not None)


def _point(name: str, figures: list[PublishedFigure]) -> PublishedPoint | None:
    """From the first table that has both, so that they belong together."""
    for latency in figures:
        if latency.metric != "latency_ms" or latency.protocol.batch != 1:
            continue
        ap = next((one for one in figures if one.metric == "ap" and one.table == latency.table), None)
        if ap is not None:
            where = latency.protocol
            conditions = ", ".join(
                str(part) for part in (where.device, where.runtime, where.precision) if part
            )
            return PublishedPoint(name, ap.value / 100, latency.value, f"{ap.source}; {conditions}")
    return None
