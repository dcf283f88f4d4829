"""Drawing random candidates, fast."""

import math
import random
from bisect import bisect
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from yolov6space.assembly import assemble
from yolov6space.candidate import Candidate
from yolov6space.dimensions import CONDITIONS, Value, applies

_LOG_SCALED = ("width", "depth")


class Sampler:
    """Draws from the given choices; everything that does not depend on the draw is prepared once."""

    def __init__(self, choices: Mapping[str, tuple[Value, ...]]) -> None:
        several = {name: values for name, values in choices.items() if len(values) > 1}
        self._fixed = {name: values[0] for name, values in choices.items() if len(values) == 1}
        self._log_scaled = [
            (name, several[name], log_bounds(several[name])) for name in _LOG_SCALED if name in several
        ]
        self._conditional = [(name, values) for name, values in several.items() if name in CONDITIONS]
        self._plain = [
            (name, values, len(values))
            for name, values in several.items()
            if name not in CONDITIONS and name not in _LOG_SCALED
        ]

    def sample(self, rng: random.Random) -> Candidate:
        """See `Space.sample`."""
        draw = rng.random
        values: dict[str, Value] = dict(self._fixed)
        for name, choices, count in self._plain:
            values[name] = choices[int(draw() * count)]
        for name, choices, bounds in self._log_scaled:
            values[name] = choices[bisect(bounds, draw())]
        for name, choices in self._conditional:
            if applies(name, values):
                values[name] = choices[int(draw() * len(choices))]
        return assemble(values)


def log_bounds(choices: Sequence[Any]) -> list[float]:
    """Cumulative probabilities, all but the last, when each of at least two ascending choices stands for its
    stretch of the logarithmic scale: half-way to its neighbours, and as far again beyond the ends."""
    logs = [math.log(choice) for choice in choices]
    gaps = [after - before for before, after in pairwise(logs)]
    stretches = [(left + right) / 2 for left, right in zip([gaps[0], *gaps], [*gaps, gaps[-1]], strict=True)]
    return [reached / sum(stretches) for reached in accumulate(stretches)][:-1]
