"""An order of a split's images whose every beginning resembles the whole."""

import numpy as np
from numpy.typing import NDArray

from evaluators.data.detection_data import Split

NO_BOXES = (-1, -1)


def stratified_order(split: Split, seed: int = 0) -> list[int]:
    """All indices of the split; among the first n, every stratum has its share, to about one image.

    A stratum is an image's rarest class (rarest in the split) and whether it has few or many boxes, so that a
    beginning holds rare classes, crowded images and images without boxes as the whole does. Within a stratum
    the order is random. Deterministic in `seed`.
    """
    rng = np.random.default_rng(seed)
    members: dict[tuple[int, int], list[int]] = {}
    for index, stratum in enumerate(_strata(split)):
        members.setdefault(stratum, []).append(index)
    keys = []
    for stratum in sorted(members):
        shuffled = rng.permutation(members[stratum])
        # The k-th of n comes at (k + u)/n of the way; u differs by stratum, or singles would come together.
        places = (np.arange(len(shuffled)) + rng.random()) / len(shuffled)
        keys += list(zip(places.tolist(), shuffled.tolist(), strict=True))
    return [index for _, index in sorted(keys)]


def _strata(split: Split) -> list[tuple[int, int]]:
    single = [labels[~crowd] for labels, crowd in zip(split.labels, split.crowd, strict=True)]
    occurrence: NDArray[np.int64] = np.bincount(
        np.concatenate(single) if single else np.zeros(0, dtype=np.int64), minlength=len(split.category_ids)
    )
    sizes = [len(labels) for labels in single]
    many = float(np.median([size for size in sizes if size] or [0]))
    return [
        (min(labels.tolist(), key=lambda label: (occurrence[label], label)), int(len(labels) > many))
        if len(labels)
        else NO_BOXES
        for labels in single
    ]
