"""Which image is seen when: a pure function of seed and position, so any point of a run is found again."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class Sampler:
    """An endless sequence: every `count` positions are one shuffled pass over all images.

    Batches run on over the end of a pass, so that none is short and no image is left out.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def index(self, position: int) -> int:
        """The image at a position (0 is the first of the run)."""
        return int(self._order(position // self.count)[position % self.count])

    def random(self, position: int) -> np.random.Generator:
        """The generator for everything that is random about the picture at a position."""
        return np.random.default_rng((self.seed, 1, position))

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.seed, 0, epoch)).permutation(self.count)
