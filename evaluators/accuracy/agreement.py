"""Do the back ends agree? Differences in AP between one network run in several ways."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluators.accuracy.figures import FIGURES, CocoFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two ways to run a network on the same images.

    Attributes:
        ap_difference: AP of `other` minus AP of `reference`; None where AP is undefined.
        largest, largest_of: the largest absolute difference among the twelve figures, and whose it is.
    """

    reference: str
    other: str
    ap_difference: float | None
    largest: float
    largest_of: str

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


def agreements(figures: Mapping[str, CocoFigures]) -> list[Agreement]:
    """Every pair of back ends, the earlier one as the reference."""
    names = list(figures)
    return [
        _compare(first, figures[first], second, figures[second])
        for position, first in enumerate(names)
        for second in names[position + 1 :]
    ]


def _compare(first: str, a: CocoFigures, second: str, b: CocoFigures) -> Agreement:
    gaps = {name: abs(getattr(b, name) - getattr(a, name)) for name in FIGURES}
    largest_of = max(gaps, key=lambda name: gaps[name])
    undefined = a.AP == -1 or b.AP == -1
    return Agreement(
        reference=first,
        other=second,
        ap_difference=None if undefined else b.AP - a.AP,
        largest=gaps[largest_of],
        largest_of=largest_of,
    )
