"""Precision-recall curves as a file: what a plot or a choice of thresholds needs, without judging again."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.figures import IOU_THRESHOLDS, RECALLS, CocoFigures
from foundation.errors import UserError


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Precision and score (10, 101, K) over IoU thresholds, recalls and classes; -1 where undefined."""

    class_names: tuple[str, ...]
    iou_thresholds: NDArray[np.float64]
    recalls: NDArray[np.float64]
    precision: NDArray[np.float64]
    scores: NDArray[np.float64]


def save_curves(figures: CocoFigures, path: Path) -> None:
    """Write the curves as a compressed .npz file.

    Raises:
        UserError: the place cannot be written, or the name does not end in .npz.
        ValueError: the figures come without curves.
    """
    if figures.precision is None or figures.scores is None:
        raise ValueError("these figures were read from JSON and have no curves")
    if path.suffix != ".npz":
        raise UserError(f"{path}: name the file of curves .npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path,
            class_names=np.array(list(figures.per_class), dtype=np.str_),
            iou_thresholds=np.array(IOU_THRESHOLDS),
            recalls=np.array(RECALLS),
            precision=figures.precision,
            scores=figures.scores,
        )
    except (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def load_curves(path: Path) -> Curves:
    """Read what `save_curves` wrote. Raises UserError when the file is none."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Curves(
                class_names=tuple(str(name) for name in stored["class_names"]),
                iou_thresholds=stored["iou_thresholds"],
                recalls=stored["recalls"],
                precision=stored["precision"],
                scores=stored["scores"],
            )
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise UserError(f"{path}: not a file of precision-recall curves ({error})") from error
