"""The design space: dimensions with their choices, and every way to move in it. Chooses; builds nothing.

The choices come from YAML (`default_space.yaml`, `paper_space.yaml`, a user's file; see docs/space.md). A
candidate is spelled as values by dimension name; a dimension that does not apply (`csp_coefficient` without a
CSPStackRep stage, `quantization` of an fp32 network) is absent. Several spellings can round to one network:
`encode` gives the canonical one, and candidates, not spellings, have keys and are equal.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Protocol

from yolov6space import space_file
from yolov6space.assembly import assemble
from yolov6space.candidate import Candidate, SpecError
from yolov6space.dimensions import BLOCKS, CONDITIONS, KINDS, Dimension, Value, Values, applies
from yolov6space.sampler import Sampler
from yolov6space.spelling import Speller

__all__ = ["Dimension", "Space", "Trial"]

ABSENT = -1
"""Index of a dimension that does not apply, in a flat vector."""


class Trial(Protocol):
    """What `Space.suggest` needs of an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Sequence[Any], /) -> Any: ...


@dataclass(frozen=True)
class Space:
    """A design space; immutable.

    Attributes:
        name: for people.
        dimensions: every dimension, those that others depend on first. One with a single choice is fixed.
    """

    name: str
    dimensions: tuple[Dimension, ...]

    @classmethod
    def default(cls) -> "Space":
        """What a search explores unless told otherwise."""
        return cls.from_dict(space_file.packaged("default"))

    @classmethod
    def paper(cls) -> "Space":
        """Every dimension and choice of the paper; contains the official variants with their recipes."""
        return cls.from_dict(space_file.packaged("paper"))

    @classmethod
    def load(cls, path: Path | str) -> "Space":
        """The space of a YAML file, or `default` or `paper`. Raises UserError, naming the file."""
        if path in ("default", "paper"):
            return cls.from_dict(space_file.packaged(str(path)))
        return cls.from_dict(space_file.read(Path(path)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Space":
        """Inverse of `to_dict`; raises UserError as `load` does."""
        name, choices = space_file.check(data, "space")
        return cls(name=name, dimensions=tuple(Dimension(key, choices[key]) for key in KINDS))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: name, and choices by dimension."""
        choices = {dimension.name: list(dimension.choices) for dimension in self.dimensions}
        return {"name": self.name, "dimensions": choices}

    @cached_property
    def choices(self) -> dict[str, tuple[Value, ...]]:
        """Choices by dimension name."""
        return {dimension.name: dimension.choices for dimension in self.dimensions}

    @cached_property
    def size(self) -> int:
        """Number of spellings, dimensions that do not apply left out: an upper bound on the candidates."""
        total = math.prod(len(choices) for name, choices in self.choices.items() if name not in CONDITIONS)
        blocks = math.prod(len(self.choices[name]) for name in BLOCKS)
        without_csp = math.prod("rep" in self.choices[name] for name in BLOCKS)
        coefficients = len(self.choices["csp_coefficient"])
        total = total // blocks * (without_csp + (blocks - without_csp) * coefficients)
        if "int8" not in self.choices["precision"]:
            return total
        metrics = len(self.choices["sensitivity_metric"])
        floats = sum(metrics if count else 1 for count in self.choices["float_layers"])
        kinds = len(self.choices["precision"])
        return total // kinds * (kinds - 1 + len(self.choices["quantization"]) * floats)

    # -- spelling ------------------------------------------------------------------------------------------

    def active(self, values: Values) -> dict[str, Value]:
        """`values` without the dimensions that do not apply, in order.

        Dimensions with a single choice may be missing from `values` and are filled in.

        Raises:
            SpecError: an unknown name, a value that is no choice, or a missing value.
        """
        self._check_names(values)
        found: dict[str, Value] = {}
        for name, choices in self.choices.items():
            if not applies(name, found):
                continue
            if name not in values and len(choices) > 1:
                raise SpecError(f"{name} has no value; choose one of {_listed(choices)}")
            value = values.get(name, choices[0])
            if value not in choices:
                raise SpecError(f"{name} is {value!r}; this space has {_listed(choices)}")
            found[name] = choices[choices.index(value)]  # 1 and True equal 1.0
        return found

    def decode(self, values: Values) -> Candidate:
        """The candidate that `values` spell; raises SpecError as `active` does."""
        return assemble(self.active(values))

    def encode(self, candidate: Candidate) -> dict[str, Value]:
        """The canonical spelling: `decode(encode(c)) == c`. Raises SpecError for a candidate outside."""
        spelled = self._speller.spell(candidate)
        return {name: spelled[name] for name in self.choices if name in spelled}

    def __contains__(self, candidate: object) -> bool:
        """Whether the candidate, recipe and precision included, can be spelled here."""
        if not isinstance(candidate, Candidate):
            return False
        try:
            self.encode(candidate)
        except SpecError:
            return False
        return True

    def to_vector(self, candidate: Candidate) -> tuple[int, ...]:
        """Index of the choice in every dimension, in order; -1 where a dimension does not apply.

        Raises SpecError for a candidate outside the space.
        """
        values = self.encode(candidate)
        return tuple(
            choices.index(values[name]) if name in values else ABSENT
            for name, choices in self.choices.items()
        )

    def from_vector(self, vector: Sequence[int]) -> Candidate:
        """Inverse of `to_vector`; entries of dimensions that do not apply are ignored. Raises SpecError."""
        if len(vector) != len(self.dimensions):
            raise SpecError(f"the vector has {len(vector)} entries; this space has {len(self.dimensions)}")
        values = {}
        for index, (name, choices) in zip(vector, self.choices.items(), strict=True):
            if index == ABSENT:
                continue
            if not 0 <= index < len(choices):
                raise SpecError(f"the entry of {name} is {index}; it must be from 0 to {len(choices) - 1}")
            values[name] = choices[int(index)]
        return self.decode(values)

    # -- moving --------------------------------------------------------------------------------------------

    def sample(self, rng: random.Random) -> Candidate:
        """A random candidate.

        Every choice is equally likely, except that the overall `width` and `depth` are drawn evenly on a
        logarithmic scale: cost grows with the square of the width, and drawn evenly the small networks would
        be rare wherever the list of widths is dense at its upper end.
        """
        return self._sampler.sample(rng)

    def suggest(self, trial: Trial) -> Candidate:
        """The candidate an Optuna trial chooses: one categorical per open dimension that applies."""
        values: dict[str, Value] = {}
        for name, choices in self.choices.items():
            if applies(name, values):
                values[name] = trial.suggest_categorical(name, choices) if len(choices) > 1 else choices[0]
        return self.decode(values)

    def enumerate(self) -> Iterator[Candidate]:
        """Every candidate once, lazily; mind `size`."""
        others = [
            name for name in self.choices if name not in BLOCKS and not name.endswith(("width", "depth"))
        ]

        def extend(position: int, values: dict[str, Value]) -> Iterator[Candidate]:
            if position == len(others):
                candidate = assemble(values)
                if self._speller.spell(candidate) == values:  # coefficients, too, can round to one network
                    yield candidate
                return
            name = others[position]
            if not applies(name, values):
                yield from extend(position + 1, values)
                return
            for choice in self.choices[name]:
                yield from extend(position + 1, {**values, name: choice})

        for widths in self._speller.all_widths():
            for kinds in product(*(self.choices[name] for name in BLOCKS)):
                blocks = dict(zip(BLOCKS, kinds, strict=True))
                for depths in self._speller.all_depths(blocks):
                    yield from extend(0, {**widths, **blocks, **depths})

    def neighbours(self, candidate: Candidate) -> tuple[Candidate, ...]:
        """Every different candidate one step away, each once, in a fixed order.

        A step changes one dimension: to the next lower or higher choice that makes a difference where choices
        have an order, to any other choice where they have none. A dimension that comes to apply takes its
        first choice.

        Raises SpecError for a candidate outside the space.
        """
        values = self.encode(candidate)
        found: dict[Candidate, None] = {}
        for dimension in self.dimensions:
            if dimension.name not in values or len(dimension.choices) == 1:
                continue
            here = dimension.choices.index(values[dimension.name])
            below, above = dimension.choices[:here][::-1], dimension.choices[here + 1 :]
            runs = (below, above) if dimension.ordered else [(choice,) for choice in (*below, *above)]
            for run in runs:
                for choice in run:
                    other = assemble(self._completed({**values, dimension.name: choice}))
                    if other != candidate:
                        found[other] = None
                        break
        return tuple(found)

    def crossover(self, first: Candidate, second: Candidate, rng: random.Random) -> Candidate:
        """A child that takes each dimension from either parent with equal chance.

        A dimension that applies to the child but only to one parent comes from that one. Raises SpecError for
        a parent outside the space.
        """
        values = [self.encode(first), self.encode(second)]
        child: dict[str, Value] = {}
        for name, choices in self.choices.items():
            if applies(name, child):
                options = [parent[name] for parent in values if name in parent] or [choices[0]]
                child[name] = options[int(rng.random() * len(options))]
        return assemble(child)

    # -- details -------------------------------------------------------------------------------------------

    def _check_names(self, values: Values) -> None:
        unknown = [name for name in values if name not in self.choices]
        if unknown:
            raise SpecError(f"no dimension is called {', '.join(map(repr, unknown))}")

    def _completed(self, values: Values) -> dict[str, Value]:
        """`values` cut or filled up with first choices to the dimensions that apply."""
        found: dict[str, Value] = {}
        for name, choices in self.choices.items():
            if applies(name, found):
                found[name] = values.get(name, choices[0])
        return found

    @cached_property
    def _speller(self) -> Speller:
        return Speller(self.choices)

    @cached_property
    def _sampler(self) -> Sampler:
        return Sampler(self.choices)


def _listed(choices: Sequence[Value]) -> str:
    return ", ".join("null" if choice is None else str(choice) for choice in choices)
