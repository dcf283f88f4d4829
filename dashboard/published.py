"""Published figures of the official variants, as points for their own chart."""

from charts.info import PublishedPoint


def published_points() -> tuple[PublishedPoint, ...]:
    return ()
