"""A table of evaluated candidates: an evaluator that answers at once, and a source of candidates.

Parameter columns begin with `p_`; a column of numbers is a number, any other a category, an empty cell a
dimension that does not apply.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foundation.errors import UserError
from search.samplers.values import Params

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from search.samplers.kernel import Array

PARAMETER = "p_"
_MIN_ROWS = 2
_HOPELESS = 4.0  # standard errors over the limit from which a row cannot be within it


@dataclass(frozen=True)
class Table:
    """Rows of candidates.

    Attributes:
        params: of each row, absent dimensions left out.
        columns: every other column that holds nothing but numbers.
        spoilt: first cell of every other column that is no finite number, in words.
    """

    name: str
    params: tuple[Params, ...]
    choices: Mapping[str, tuple[Any, ...] | None]
    columns: Mapping[str, Array]
    spoilt: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str, option: str) -> Array:
        """A column of finite numbers. Raises UserError that names the option."""
        if name in self.spoilt:
            raise UserError(f"{option} {name}: {self.name}, {self.spoilt[name]} is no finite number")
        if name not in self.columns:
            raise UserError(
                f"{option} {name}: {self.name} has no such column of numbers; it has {', '.join(self.columns)}"
            )
        return self.columns[name]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The name of each row."""
        return tuple(key_of(one) for one in self.params)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row by name."""
        return {key: row for row, key in enumerate(self.keys)}


def key_of(params: Params) -> str:
    """The name of a candidate; 3 and 3.0 are the same."""
    return repr(
        sorted((name, value if isinstance(value, str) else float(value)) for name, value in params.items())
    )


def read_table(path: Path) -> Table:
    """Read a CSV file. Raises UserError for whatever cannot be searched."""
    import pandas as pd

    if not path.is_file():
        raise UserError(f"--table {path}: no such file")
    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0]
        frame = pd.read_csv(path, index_col=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"--table {path}: not a CSV table: {error}") from error
    if repeated := sorted({str(name) for name in header[header.duplicated()].dropna()}):
        raise UserError(f"--table {path}: two columns are called {repeated[0]}")
    names = [str(name) for name in frame.columns if str(name).startswith(PARAMETER)]
    if not names:
        raise UserError(
            f"--table {path}: no parameter column; name them {PARAMETER}..., such as {PARAMETER}width"
        )
    if len(frame) < _MIN_ROWS:
        raise UserError(f"--table {path}: {len(frame)} rows; a search needs at least {_MIN_ROWS}")
    numeric = {
        name for name in names if pd.api.types.is_numeric_dtype(frame[name]) and frame[name].dtype != bool
    }
    choices = {
        name: None if name in numeric else tuple(sorted({str(v) for v in frame[name].dropna()}))
        for name in names
    }
    params = tuple(
        {
            name: float(value) if name in numeric else str(value)
            for name, value in zip(names, cells, strict=True)
            if not pd.isna(value)
        }
        for cells in frame[names].itertuples(index=False)
    )
    columns: dict[str, Array] = {}
    spoilt: dict[str, str] = {}
    for name in (str(name) for name in frame.columns if name not in names):
        numbers = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=float)
        finite = np.isfinite(numbers)
        if finite.all():
            columns[name] = numbers
        else:
            row = int(np.argmin(finite))
            cell = frame[name].iloc[row]
            told = "an empty cell" if pd.isna(cell) else f"'{cell}'"
            spoilt[name] = f"row {row + 1}: {told}"
    table = Table(path.name, params, choices, columns, spoilt)
    if len(table.rows) < len(params):
        raise UserError(
            f"--table {path}: {len(params) - len(table.rows)} rows repeat the parameters of another"
        )
    return table


class TableSource:
    """The rows of a table as candidates.

    Args:
        known: figures known before evaluation, by name.
        latency: which of them foretells the latency, None if none does.
        latency_error: its relative standard error.
        limit: rows that are foretold so far over it that no error explains it are never drawn.
    """

    def __init__(
        self,
        table: Table,
        known: Mapping[str, Array],
        latency: str | None,
        latency_error: float,
        limit: float | None,
    ) -> None:
        self._table = table
        self._known = known
        self.latency = latency
        self.latency_error = latency_error
        self.choices = table.choices
        candidates = np.arange(len(table.params))
        if latency is not None and limit is not None:
            candidates = candidates[known[latency] <= limit * np.exp(_HOPELESS * latency_error)]
        self._candidates = candidates

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Numbers as the range they span, categories as they are."""
        return distributions(self._table)

    def key(self, params: Params) -> str:
        """See `Source`."""
        return key_of(params)

    def draw(self, taken: Collection[str], best: Sequence[Params], seed: int) -> Sequence[Params]:
        """All rows that are left, or a fair draw of them from a very large table."""
        keys = self._table.keys
        left = [row for row in self._candidates if keys[row] not in taken]
        if len(left) > MAX_POOL:
            left = np.sort(np.random.default_rng(seed).choice(left, MAX_POOL, replace=False)).tolist()
        return [self._table.params[row] for row in left]

    def figures(self, params: Sequence[Params]) -> dict[str, list[float]]:
        """See `Source`."""
        rows = [self._table.rows[key_of(one)] for one in params]
        return {name: values[rows].tolist() for name, values in self._known.items()}

    def foretold(
        self, params: Sequence[Params], measured: Sequence[tuple[Params, float]], *, here: bool = True
    ) -> None:
        """Of a device nothing is known but what a column says."""


MAX_POOL = 4000


def distributions(table: Table) -> dict[str, BaseDistribution]:
    """Optuna's view: a number that takes few values is chosen among them, in order."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for name, choices in table.choices.items():
        values = [one[name] for one in table.params if name in one]
        if choices is not None:
            found[name] = CategoricalDistribution(choices)
        elif all(float(value).is_integer() for value in values):
            found[name] = IntDistribution(int(min(values)), int(max(values)))
        else:
            found[name] = FloatDistribution(min(values), max(values))
    return found
