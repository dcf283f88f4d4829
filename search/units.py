"""Quantities as people write them on a command line: `8.8ms`, `30m`, `1h30m`."""

import math
import re
from collections.abc import Mapping

import click

_NUMBER_WITH_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]+)")


class Quantity(click.ParamType):
    """A positive quantity with its unit, converted to the smallest listed unit's scale.

    Args:
        name: what is asked for, for the error message.
        scale: unit -> factor to the unit of the result.
        example: a valid value, shown when the input is not one.
        compound: whether several parts may be added up, as in `1h30m`.
    """

    def __init__(
        self, name: str, scale: Mapping[str, float], example: str, *, compound: bool = False
    ) -> None:
        self.name = name
        self._scale = scale
        self._example = example
        self._compound = compound

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the quantity as a number; refuses with one line that says what to write instead."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip().lower()
        parts = _NUMBER_WITH_UNIT.findall(text)
        whole = "".join(f"{number}{unit}" for number, unit in parts) == text.replace(" ", "")
        if not parts or not whole or (len(parts) > 1 and not self._compound):
            self._refuse(text, self._hint(text), param, ctx)
        unknown = [unit for _, unit in parts if unit not in self._scale]
        if unknown:
            self._refuse(text, f"unknown unit {unknown[0]!r} (known: {', '.join(self._scale)})", param, ctx)
        total = sum(float(number) * self._scale[unit] for number, unit in parts)
        if not math.isfinite(total):
            self._refuse(text[:20] + "...", "is too large", param, ctx)
        if total <= 0:
            self._refuse(text, "must be more than zero", param, ctx)
        return total

    def _hint(self, text: str) -> str:
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return "the unit is missing"
        if re.match(r"\d+,\d", text):
            return "use a point as the decimal mark"
        if text.startswith("-"):
            return "must be more than zero"
        return "is not a number with a unit"

    def _refuse(self, text: str, why: str, param: click.Parameter | None, ctx: click.Context | None) -> None:
        self.fail(f"{text!r}: {why}; write it like {self._example}", param, ctx)


LATENCY_MS = Quantity("latency", {"ms": 1.0, "us": 1e-3, "µs": 1e-3, "s": 1e3}, "8.8ms")
DURATION_S = Quantity(
    "duration", {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}, "30m or 1h30m", compound=True
)


def in_time(seconds: float) -> str:
    """A duration in words, in seconds below two minutes: `45 s`, `7 min`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
