"""How good a search was, against the whole table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search.samplers.acquisition import hypervolume
from search.samplers.kernel import Array


@dataclass(frozen=True)
class Yardstick:
    """The truth of a table. Everything here is "first objective up, second down".

    Attributes:
        value, latency: of every row.
        limit: of latency.
        floor: reference value of the hypervolume, the worst of the table; its other corner is the limit.
    """

    value: Array
    latency: Array
    limit: float

    @property
    def floor(self) -> float:
        """See the class."""
        return float(self.value.min())

    @property
    def best(self) -> float:
        """The best value within the limit."""
        return float(self.value[self.latency <= self.limit].max())

    def share(self, rows: Array) -> float:
        """Hypervolume of some rows over that of the true front, 0..1."""
        true = hypervolume(self.value, self.latency, self.limit, self.floor)
        return (
            hypervolume(self.value[rows], self.latency[rows], self.limit, self.floor) / true if true else 1.0
        )

    def best_of(self, rows: Array) -> float:
        """The best value within the limit among some rows; NaN when none is."""
        feasible = rows[self.latency[rows] <= self.limit]
        return float(self.value[feasible].max()) if len(feasible) else float("nan")

    def regret(self, rows: Array) -> float:
        """What the best of some rows falls short of the best within the limit; the whole range when none is."""
        found = self.best_of(rows)
        return self.best - (self.floor if np.isnan(found) else found)
