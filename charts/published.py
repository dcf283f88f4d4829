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
            parts = (ap.source, ap.protocol.data, where.device, where.runtime, where.precision)
            said = ", ".join(part for part in parts if part)
            return PublishedPoint(name, ap.value / 100, latency.value, said)
    return None
