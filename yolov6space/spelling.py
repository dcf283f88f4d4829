"""From a candidate to the values that spell it in a space.

Rounding makes several spellings of one network possible. The one given is the plainest: the multiples of
stages, neck and head are nearest to 1 (least sum of absolute logarithms), then the overall one is smallest.
"""

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from yolov6space import scaling
from yolov6space.assembly import BACKBONE_PARTS, NECK_PARTS, StagePart, head_channels, stem_channels
from yolov6space.candidate import Candidate, ModelSpec, SpecError
from yolov6space.dimensions import Value

Choices = Mapping[str, tuple[Any, ...]]
_Table = dict[Hashable, float]  # what a stage becomes -> the plainest multiple that makes it so


class Speller:
    """Spells candidates in the space of the given choices; keeps its tables between calls."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._widths = _Axis("width", choices, _channels_of)
        self._depths = _Axis("depth", choices, _repeats_of)

    def spell(self, candidate: Candidate) -> dict[str, Value]:
        """The values that apply, by name. Raises SpecError where the candidate is outside the space."""
        model, recipe, precision = candidate.model, candidate.recipe, candidate.precision
        values: dict[str, Value] = {
            **self._spell_widths(model),
            **self._spell_depths(model),
            "conv": model.conv,
            "activation": model.activation,
            "reg_max": model.reg_max,
            "box_loss": recipe.box_loss,
            "class_loss": recipe.class_loss,
            "assigner": recipe.assigner,
            "distillation": recipe.distillation,
            "precision": precision.kind,
            "image_size": candidate.image_size,
        }
        for part, stage in zip(_PARTS, (*model.backbone, *model.neck), strict=True):
            values[part.block] = stage.block
        if any(stage.block == "csp_rep" for stage in (*model.backbone, *model.neck)):
            values["csp_coefficient"] = self._spell_coefficient(model)
        if precision.kind == "int8":
            values["quantization"] = precision.scheme
            values["float_layers"] = precision.float_layers
            if precision.float_layers:
                values["sensitivity_metric"] = precision.metric
        for name, value in values.items():
            if value not in self._choices[name]:
                allowed = ", ".join(map(str, self._choices[name]))
                raise SpecError(f"{name} is {value}, which is outside the space; it has {allowed}")
        return values

    def _spell_widths(self, model: ModelSpec) -> dict[str, Value]:
        def head_and_stem(overall: float) -> dict[str, float] | None:
            if stem_channels(overall) != model.stem_channels:
                return None
            for multiple in sorted(self._choices["head.width"], key=_effort):
                if head_channels(overall * multiple) == model.head_channels:
                    return {"head.width": multiple}
            return None

        backbone = [stage.channels for stage in model.backbone]
        neck = [stage.channels for stage in model.neck]
        found = self._widths.spell(backbone, neck, head_and_stem)
        if found is None:
            raise SpecError(
                f"no widths of the space give stem {model.stem_channels}, backbone {backbone}, neck {neck}, "
                f"head {list(model.head_channels)}"
            )
        return found

    def _spell_depths(self, model: ModelSpec) -> dict[str, Value]:
        backbone = [(stage.block, stage.repeats) for stage in model.backbone]
        neck = [(stage.block, stage.repeats) for stage in model.neck]
        found = self._depths.spell(backbone, neck, lambda overall: {})
        if found is None:
            text = ", ".join(f"{block} x{repeats}" for block, repeats in (*backbone, *neck))
            raise SpecError(f"no depths of the space give the repeats of backbone and neck: {text}")
        return found

    def _spell_coefficient(self, model: ModelSpec) -> str:
        stages = [stage for stage in (*model.backbone, *model.neck) if stage.block == "csp_rep"]
        for coefficient in self._choices["csp_coefficient"]:
            if all(
                stage.hidden_channels == scaling.hidden_channels(stage.channels, coefficient)
                for stage in stages
            ):
                return str(coefficient)
        hidden = ", ".join(f"{stage.hidden_channels} of {stage.channels}" for stage in stages)
        raise SpecError(f"no csp_coefficient of the space gives the hidden channels: {hidden}")


_PARTS = (*BACKBONE_PARTS, *NECK_PARTS)


def _effort(multiple: float) -> float:
    """How far a multiple is from 1."""
    return abs(math.log(multiple))


def _channels_of(part: StagePart, multiple: float) -> list[Hashable]:
    return [scaling.scale_channels(part.base_channels, multiple)]


def _repeats_of(part: StagePart, multiple: float) -> list[Hashable]:
    return [(kind, scaling.scale_repeats(kind, part.base_repeats, multiple)) for kind in ("rep", "csp_rep")]


class _Axis:
    """Widths or depths: for every overall multiple, what each multiple of each stage makes of it."""

    def __init__(
        self, axis: str, choices: Choices, results: Callable[[StagePart, float], list[Hashable]]
    ) -> None:
        self._axis = axis

        def table(part: StagePart, overall: float) -> _Table:
            found: _Table = {}
            for multiple in sorted(choices[getattr(part, axis)], key=_effort):
                for result in results(part, overall * multiple):
                    found.setdefault(result, multiple)
            return found

        self._plans = [
            (
                overall,
                [table(part, overall) for part in BACKBONE_PARTS],
                [
                    (neck, [table(part, overall * neck) for part in NECK_PARTS])
                    for neck in choices[f"neck.{axis}"]
                ],
            )
            for overall in choices[axis]
        ]

    def spell(
        self,
        backbone: list[Any],
        neck: list[Any],
        rest: Callable[[float], dict[str, float] | None],
    ) -> dict[str, Value] | None:
        """The plainest values, or None.

        Args:
            backbone, neck: what the stages have to become.
            rest: what else depends on the overall multiple: its values, or None where there are none.
        """
        best: dict[str, float] | None = None
        least = math.inf
        for overall, backbone_tables, necks in self._plans:
            others = rest(overall)
            stages = _look_up(BACKBONE_PARTS, backbone_tables, backbone, self._axis)
            if others is None or stages is None:
                continue
            for neck_overall, neck_tables in necks:
                neck_stages = _look_up(NECK_PARTS, neck_tables, neck, self._axis)
                if neck_stages is None:
                    continue
                multiples = {**others, **stages, f"neck.{self._axis}": neck_overall, **neck_stages}
                effort = sum(map(_effort, multiples.values()))
                if effort < least - 1e-9:
                    best, least = {self._axis: overall, **multiples}, effort
        return None if best is None else dict(best)


def _look_up(
    parts: tuple[StagePart, ...], tables: list[_Table], wanted: list[Any], axis: str
) -> dict[str, float] | None:
    found = {}
    for part, table, result in zip(parts, tables, wanted, strict=True):
        multiple = table.get(result)
        if multiple is None:
            return None
        found[getattr(part, axis)] = multiple
    return found
