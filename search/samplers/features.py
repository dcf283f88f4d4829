"""Candidates as numbers that a model can learn from.

Raw values are what a person writes: numbers, texts, and nothing where a dimension does not apply. The model
sees the unit interval: numbers by their rank among the candidates at hand (so units, skew and far-apart
devices make no difference), texts as indicators, and, for dimensions that share their choices, how often
each choice occurs (four stages of one block kind are alike whichever they are).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.samplers.kernel import Array

_HEIGHT = 0.5**0.5  # two different categories are then at distance 1


@dataclass(frozen=True, slots=True)
class Features:
    """A matrix and what its columns mean.

    Attributes:
        matrix: (candidates, columns).
        groups: names of the dimensions, each with its columns.
        summaries: names of those that sum a candidate up: figures known beforehand and counts of choices.
    """

    matrix: Array
    groups: dict[str, tuple[int, ...]]
    summaries: frozenset[str]

    @property
    def chosen(self) -> list[int]:
        """Columns of the choices themselves, without summaries."""
        return [
            column for name, group in self.groups.items() if name not in self.summaries for column in group
        ]


def features(
    params: Sequence[Mapping[str, Any]], known: Mapping[str, Sequence[float]], choices: Mapping[str, Any]
) -> Features:
    """Encode candidates together, so that all share one scale.

    Args:
        params: parameters of each candidate; a dimension that does not apply is missing (or None).
        known: figures known before evaluation, by name; one finite number per candidate.
        choices: the parameters in order; those with a sequence of texts are categories, all others numbers.
    """
    columns: list[Array] = []
    groups: dict[str, tuple[int, ...]] = {}

    def add(name: str, found: list[Array]) -> None:
        found = [column for column in found if np.ptp(column) > 0]
        if found:
            groups[name] = tuple(range(len(columns), len(columns) + len(found)))
            columns.extend(found)

    counts: dict[tuple[Any, ...], dict[Any, Array]] = {}
    sharing: defaultdict[tuple[Any, ...], int] = defaultdict(int)
    for name, allowed in choices.items():
        values = [one.get(name) for one in params]
        absent = np.array([value is None for value in values])
        if allowed is None:
            numbers = np.array([np.nan if value is None else float(value) for value in values])
            add(name, [_ranked(numbers), _HEIGHT * absent])
            continue
        indicators = {
            choice: np.array([value == choice for value in values], dtype=float) for choice in allowed
        }
        add(name, [_HEIGHT * column for column in (*indicators.values(), absent.astype(float))])
        signature = tuple(allowed)
        sharing[signature] += 1
        total = counts.setdefault(signature, {})
        for choice, column in indicators.items():
            total[choice] = total.get(choice, 0.0) + column
    for signature, total in counts.items():
        if sharing[signature] > 1:
            for choice, column in total.items():
                add(f"number of {choice}", [column / sharing[signature]])
    for name, figures in known.items():
        add(name, [_ranked(np.asarray(figures, dtype=float))])
    if not columns:
        columns = [np.zeros(len(params))]
        groups = {"": (0,)}
    return Features(np.stack(columns, axis=1), groups, frozenset(set(groups) - set(choices)))


def _ranked(values: Array) -> Array:
    """Half rank, half proportion, both 0..1; absent ones in the middle."""
    present = np.isfinite(values)
    found = np.full(len(values), 0.5)
    if not present.any():
        return found
    shown = values[present]
    distinct, inverse = np.unique(shown, return_inverse=True)
    if len(distinct) > 1:
        rank = inverse / (len(distinct) - 1)
        scaled = np.log(shown) if distinct[0] > 0 else shown
        low, high = scaled.min(), scaled.max()
        found[present] = 0.5 * rank + 0.5 * (scaled - low) / (high - low)
    return found
