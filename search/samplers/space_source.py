"""The design space as a source of candidates."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from search.sampler import distributions
from search.samplers.values import Params
from yolov6space.candidate import Candidate, ModelSpec
from yolov6space.cost import cost
from yolov6space.space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from search.samplers.foretold import Foretelling
    from search.samplers.model import Belief

POOL = 350  # candidates drawn at random for each question
CHILDREN = 80  # candidates bred from the best, besides the neighbours of a few of them
_NEIGHBOURS_OF = 3


class SpaceSource:
    """Draws from a space: at random, around the best, and between them.

    Args:
        num_classes, image_size: what costs are costs of.
        excluded: keys of candidates that are never drawn.
        foretelling: latency before it is measured; None: learnt from the figures of what was measured alone.
        foretelling_elsewhere: the same on another device.
    """

    latency = None
    latency_error = 0.0

    def __init__(
        self,
        space: Space,
        *,
        num_classes: int,
        image_size: int,
        excluded: frozenset[str] = frozenset(),
        foretelling: Foretelling | None = None,
        foretelling_elsewhere: Foretelling | None = None,
    ) -> None:
        self._space = space
        self._num_classes = num_classes
        self._image_size = image_size
        self._excluded = excluded
        self._decoded: dict[str, Candidate] = {}
        self._foretelling = foretelling
        self._foretelling_elsewhere = foretelling_elsewhere
        self.choices: dict[str, tuple[Any, ...] | None] = {
            dimension.name: None if dimension.ordered else dimension.choices
            for dimension in space.dimensions
            if len(dimension.choices) > 1
        }

    @cached_property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """Ordered dimensions as indices, others as categories."""
        return distributions(self._space)

    def params_of(self, candidate: Candidate) -> Params:
        """The candidate in its canonical spelling. Raises SpecError for one outside the space."""
        values = self._space.encode(candidate)
        return {
            name: values[name] if choices is not None else self._space.choices[name].index(values[name])
            for name, choices in self.choices.items()
            if name in values
        }

    def candidate_of(self, params: Params) -> Candidate:
        """Inverse of `params_of`; what was drawn or decoded before is remembered."""
        key = self.key(params)
        if key not in self._decoded:
            self._decoded[key] = self._space.decode(
                {
                    name: value if self.choices[name] is not None else self._space.choices[name][value]
                    for name, value in params.items()
                }
            )
        return self._decoded[key]

    def key(self, params: Params) -> str:
        """The canonical spelling as text: cheaper than the candidate's own key."""
        return repr(sorted(params.items()))

    def draw(self, taken: Collection[str], best: Sequence[Params], seed: int) -> Sequence[Params]:
        """See `Source`; every candidate of a space that is smaller than a draw."""
        rng = random.Random(seed)
        drawn: list[Candidate] = []
        if self._space.size <= POOL:
            drawn = list(self._space.enumerate())
        else:
            drawn = [self._space.sample(rng) for _ in range(POOL)]
            parents = [self.candidate_of(one) for one in best]
            for parent in rng.sample(parents, min(_NEIGHBOURS_OF, len(parents))):
                drawn += self._space.neighbours(parent)
            for _ in range(CHILDREN if parents else 0):
                child = self._space.crossover(rng.choice(parents), rng.choice(parents), rng)
                drawn.append(rng.choice(self._space.neighbours(child)) if rng.random() < 0.5 else child)
        found: dict[str, Params] = {}
        for candidate in drawn:
            if self._excluded and candidate.key in self._excluded:
                continue
            params = self.params_of(candidate)
            key = self.key(params)
            if key not in taken:
                found.setdefault(key, params)
                self._decoded[key] = candidate
        return list(found.values())

    def figures(self, params: Sequence[Params]) -> dict[str, list[float]]:
        """FLOPs, parameters, memory written, depth and mean width of the deploy form."""
        rows = [self._figures(self.candidate_of(one)) for one in params]
        names = ("gflops", "params_m", "activation_mb", "repeats", "mean width")
        return {name: [row[column] for row in rows] for column, name in enumerate(names)}

    def foretold(
        self, params: Sequence[Params], measured: Sequence[tuple[Params, float]], *, here: bool = True
    ) -> Belief | None:
        """See `Source`."""
        foretelling = self._foretelling if here else self._foretelling_elsewhere
        if foretelling is None:
            return None
        known = [(self.candidate_of(one), ms) for one, ms in measured]
        return foretelling([self.candidate_of(one) for one in params], known)

    def _figures(self, candidate: Candidate) -> tuple[float, ...]:
        return _figures(candidate.model, self._num_classes, candidate.image_size or self._image_size)


@lru_cache(maxsize=20_000)
def _figures(model: ModelSpec, num_classes: int, image_size: int) -> tuple[float, ...]:
    price = cost(model, num_classes=num_classes, image_size=image_size)
    stages = (*model.backbone, *model.neck)
    return (
        price.flops / 1e9,
        price.params / 1e6,
        price.activation_bytes / 2**20,
        float(sum(stage.repeats for stage in stages)),
        sum(stage.channels for stage in stages) / len(stages),
    )
