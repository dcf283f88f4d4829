"""How far AP could be from what these images show: a bootstrap over images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.matches import ImageMatches, ap_of_resamplings

RESAMPLINGS = 400
AT_ONCE = (
    20_000_000  # detections times resamplings that are computed together: some arrays of 8 bytes of each
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApInterval:
    """AP of the images judged and its interval at `confidence`, from `resamplings` bootstrap samples of images."""

    ap: float
    low: float
    high: float
    confidence: float
    resamplings: int

    def to_dict(self) -> dict[str, float]:
        """JSON form."""
        return asdict(self)


def ap_interval(
    matches: Sequence[ImageMatches],
    *,
    confidence: float = 0.95,
    resamplings: int = RESAMPLINGS,
    seed: int = 0,
) -> ApInterval | None:
    """Percentile interval of AP (scipy.stats.bootstrap); None with fewer than two images or nothing to find.

    Images are what is drawn, because detections within an image are no independent evidence. Deterministic in
    `seed`.
    """
    from scipy.stats import bootstrap

    count = len(matches)
    if count < 2 or not any(one.positives.any() for one in matches):
        return None

    def statistic(drawn: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        rows = np.moveaxis(drawn, axis, -1).reshape(-1, count)
        counts = np.stack([np.bincount(row, minlength=count) for row in rows])
        ap = ap_of_resamplings(matches, counts)
        # A sample that drew only empty images says nothing; the middle keeps it from moving the ends.
        return np.where(np.isnan(ap), point, ap).reshape(np.moveaxis(drawn, axis, -1).shape[:-1])

    detections = max(1, sum(len(one.scores) for one in matches))
    point = float(ap_of_resamplings(matches, np.ones((1, count), dtype=np.int64))[0])
    found = bootstrap(
        (np.arange(count),),
        statistic,
        vectorized=True,
        batch=max(1, min(50, AT_ONCE // detections)),
        n_resamples=resamplings,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    # With every resampling below the point (a perfect detector), the point itself belongs inside.
    return ApInterval(
        ap=point,
        low=min(float(found.low), point),
        high=max(float(found.high), point),
        confidence=confidence,
        resamplings=resamplings,
    )
