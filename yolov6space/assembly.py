"""From chosen values to a candidate.

A stage's width is (overall) x (its own) and in the neck (overall) x (neck) x (its own), rounded up to a
multiple of 8; a depth likewise. `yolov6space.spelling` goes the other way.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from yolov6space import scaling
from yolov6space.candidate import Candidate, ModelSpec, Precision, Recipe, StageSpec
from yolov6space.dimensions import BACKBONE_STAGES, NECK_STAGES


class StagePart(NamedTuple):
    """Names of the dimensions of one stage, and what its multiples multiply."""

    block: str
    width: str
    depth: str
    base_channels: int
    base_repeats: int


def _parts(
    stages: tuple[str, ...], channels: tuple[int, ...], repeats: tuple[int, ...]
) -> tuple[StagePart, ...]:
    return tuple(
        StagePart(f"{stage}.block", f"{stage}.width", f"{stage}.depth", base_channels, base_repeats)
        for stage, base_channels, base_repeats in zip(stages, channels, repeats, strict=True)
    )


BACKBONE_PARTS = _parts(BACKBONE_STAGES, scaling.BACKBONE_CHANNELS, scaling.BACKBONE_REPEATS)
NECK_PARTS = _parts(NECK_STAGES, scaling.NECK_CHANNELS, scaling.NECK_REPEATS)


def assemble(values: Mapping[str, Any]) -> Candidate:
    """The candidate that `values` spell. They hold every dimension that applies, each in canonical form;
    values of dimensions that do not apply may be there and are ignored."""
    width, depth = values["width"], values["depth"]
    coefficient = values.get("csp_coefficient")
    stage2, stage3, stage4, stage5 = [
        _stage(values, part, width, depth, coefficient) for part in BACKBONE_PARTS
    ]
    neck_width, neck_depth = width * values["neck.width"], depth * values["neck.depth"]
    p4, p3, n3, n4 = [_stage(values, part, neck_width, neck_depth, coefficient) for part in NECK_PARTS]
    precision = values["precision"]
    if precision == "int8":
        floats = values["float_layers"]
        metric = values["sensitivity_metric"] if floats else None
        number_format = _precision(precision, values["quantization"], floats, metric)
    else:
        number_format = _precision(precision, None, None, None)
    return Candidate(
        model=ModelSpec(
            stem_channels=stem_channels(width),
            backbone=(stage2, stage3, stage4, stage5),
            neck=(p4, p3, n3, n4),
            head_channels=head_channels(width * values["head.width"]),
            conv=values["conv"],
            activation=values["activation"],
            reg_max=values["reg_max"],
        ),
        recipe=_recipe(values["box_loss"], values["class_loss"], values["assigner"], values["distillation"]),
        precision=number_format,
        image_size=values["image_size"],
    )


@lru_cache(maxsize=1024)
def stem_channels(width: float) -> int:
    """Channels of the stem at an overall width."""
    return scaling.scale_channels(scaling.STEM_CHANNELS, width)


@lru_cache(maxsize=1024)
def head_channels(width: float) -> tuple[int, int, int]:
    """Channels of the head's three levels at (overall) x (head) width."""
    p3, p4, p5 = (scaling.scale_channels(channels, width) for channels in scaling.HEAD_CHANNELS)
    return p3, p4, p5


def _stage(
    values: Mapping[str, Any], part: StagePart, width: float, depth: float, coefficient: str | None
) -> StageSpec:
    block = values[part.block]
    return scaling.scaled_stage(
        block,
        part.base_channels,
        part.base_repeats,
        width * values[part.width],
        depth * values[part.depth],
        coefficient if block == "csp_rep" else None,
    )


@lru_cache(maxsize=1024)
def _recipe(box_loss: str, class_loss: str, assigner: str, distillation: str) -> Recipe:
    return Recipe(box_loss=box_loss, class_loss=class_loss, assigner=assigner, distillation=distillation)


@lru_cache(maxsize=1024)
def _precision(kind: str, scheme: str | None, float_layers: int | None, metric: str | None) -> Precision:
    return Precision(kind=kind, scheme=scheme, float_layers=float_layers, metric=metric)
