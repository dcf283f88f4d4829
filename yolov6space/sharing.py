"""Which architectures of a space share one network's weights (`networks.supernet`). Chooses; builds nothing."""

import dataclasses
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from yolov6space.candidate import ModelSpec, Recipe
from yolov6space.cost import cost
from yolov6space.space import Space

ARCHITECTURES = 1000  # that are trained in turn
MOST_DRAWN = 10_000  # before a limit counts as one that hardly any architecture meets


@dataclass(frozen=True)
class Sharing:
    """Which architectures share weights; the same values give the same ones everywhere.

    Attributes:
        max_gflops: of one forward pass at `image_size`; dearer architectures are left out.
        seed: of the draw, of first weights and of pictures.
    """

    space: Space
    num_classes: int
    image_size: int
    max_gflops: float
    seed: int

    @cached_property
    def models(self) -> tuple[ModelSpec, ...]:
        """The architectures, up to `ARCHITECTURES`. May be empty, when none is cheap enough."""
        rng = random.Random(self.seed)
        found: dict[ModelSpec, None] = {}
        for _ in range(MOST_DRAWN):
            model = self.space.sample(rng).model
            if self.gflops(model) <= self.max_gflops:
                found.setdefault(dataclasses.replace(model, reg_max=self.reg_max))
            if len(found) == ARCHITECTURES:
                break
        return tuple(found)

    @property
    def reg_max(self) -> int:
        """Of the head that all share."""
        return int(self.space.choices["reg_max"][0])  # type: ignore[arg-type]

    @property
    def recipe(self) -> Recipe:
        """The losses and the assigner that all share."""
        names = ("box_loss", "class_loss", "assigner")
        return Recipe(**{name: str(self.space.choices[name][0]) for name in names})

    def gflops(self, model: ModelSpec) -> float:
        """Of one forward pass at `image_size`."""
        return cost(model, num_classes=self.num_classes, image_size=self.image_size).flops / 1e9

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "space": self.space.to_dict(),
            "classes": self.num_classes,
            "image_size": self.image_size,
            "max_gflops": self.max_gflops,
            "seed": self.seed,
        }
