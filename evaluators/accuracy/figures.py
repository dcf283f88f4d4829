"""The twelve COCO figures as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Order of pycocotools' `stats`.
FIGURES = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR_1",
    "AR_10",
    "AR_100",
    "AR_small",
    "AR_medium",
    "AR_large",
)
IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
RECALLS = tuple(step / 100 for step in range(101))


@dataclass(frozen=True, slots=True)
class CocoFigures:
    """COCO detection figures, 0..1; -1 where undefined (no ground truth of that size), as in pycocotools.

    `per_class` is AP (IoU 0.5:0.95, all sizes, 100 detections) by class name, -1 for classes without ground
    truth. `precision` (10, 101, K) is precision over IOU_THRESHOLDS, RECALLS and the K classes in order of
    their category ids, as in `per_class`; `scores`, of the same shape, the score at which that recall is
    reached. -1 where a class has no ground truth.
    """

    AP: float
    AP50: float
    AP75: float
    AP_small: float
    AP_medium: float
    AP_large: float
    AR_1: float
    AR_10: float
    AR_100: float
    AR_small: float
    AR_medium: float
    AR_large: float
    per_class: Mapping[str, float] = field(default_factory=dict)
    precision: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    scores: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    @property
    def stats(self) -> tuple[float, ...]:
        """The twelve in pycocotools' order."""
        return tuple(getattr(self, name) for name in FIGURES)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: undefined figures are None. Of the curves only the class means (`mean_precision`)."""
        figures: dict[str, Any] = {name: _defined(getattr(self, name)) for name in FIGURES}
        figures["per_class"] = {name: _defined(value) for name, value in self.per_class.items()}
        figures["precision_at_recall"] = self.mean_precision()
        return figures

    def mean_precision(self) -> dict[str, list[float]]:
        """Precision at RECALLS, averaged over the classes with ground truth, to five digits.

        Under the names of the figures whose mean over recall it is: AP (over all IoU thresholds), AP50, AP75.
        Empty without any ground truth.
        """
        if self.precision is None:
            return {}
        known = self.precision[:, :, self.precision[0, 0] > -1]
        if not known.shape[2]:
            return {}
        curves = {"AP": known.mean(axis=(0, 2)), "AP50": known[0].mean(axis=1), "AP75": known[5].mean(axis=1)}
        return {name: curve.round(5).tolist() for name, curve in curves.items()}


def _defined(value: float) -> float | None:
    return None if value == -1 else value
