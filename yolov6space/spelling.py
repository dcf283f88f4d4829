"""From a candidate to the values that spell it in a space.

Rounding makes several spellings of one network possible. The one given is the plainest: the multiples of
stages, neck and head are nearest to 1 (least sum of absolute logarithms), then the overall one is smallest.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from yolov6space import scaling
from yolov6space.assembly import BACKBONE_PARTS, NECK_PARTS, StagePart, head_channels, stem_channels
from yolov6space.candidate import Candidate, ModelSpec, SpecError
from yolov6space.dimensions import Value

Choices = Mapping[str, tuple[Any, ...]]
Multiples = dict[str, float]  # by dimension name
_Table = dict[Any, float]  # what a stage becomes -> the plainest multiple that makes it so


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
            **self.spell_widths(
                model.stem_channels,
                [stage.channels for stage in model.backbone],
                [stage.channels for stage in model.neck],
                model.head_channels,
            ),
            **self.spell_depths(
                [(stage.block, stage.repeats) for stage in model.backbone],
                [(stage.block, stage.repeats) for stage in model.neck],
            ),
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

    def spell_widths(
        self, stem: int, backbone: Sequence[int], neck: Sequence[int], head: Sequence[int]
    ) -> Multiples:
        """The plainest multiples that give these channels. Raises SpecError where there are none."""

        def rest(overall: float) -> Multiples | None:
            if stem_channels(overall) != stem:
                return None
            multiple = self._heads(overall).get(tuple(head))
            return None if multiple is None else {"head.width": multiple}

        found = self._widths.spell(backbone, neck, rest)
        if found is None:
            raise SpecError(
                f"no widths of the space give stem {stem}, backbone {list(backbone)}, neck {list(neck)}, "
                f"head {list(head)}"
            )
        return found

    def spell_depths(self, backbone: Sequence[tuple[str, int]], neck: Sequence[tuple[str, int]]) -> Multiples:
        """The plainest multiples that give these repeats of these blocks. Raises SpecError without any."""
        found = self._depths.spell(backbone, neck, lambda overall: {})
        if found is None:
            text = ", ".join(f"{block} x{repeats}" for block, repeats in (*backbone, *neck))
            raise SpecError(f"no depths of the space give the repeats of backbone and neck: {text}")
        return found

    def all_widths(self) -> Iterator[Multiples]:
        """The plainest spelling of every possible choice of channels, each once, lazily."""
        for overall, results, multiples in self._widths.combinations(lambda part, result: True):
            for head, multiple in self._heads(overall).items():
                spelled = {**multiples, "head.width": multiple}
                if self.spell_widths(stem_channels(overall), results[:4], results[4:], head) == spelled:
                    yield spelled

    def all_depths(self, blocks: Mapping[str, Value]) -> Iterator[Multiples]:
        """The plainest spelling of every possible choice of repeats of these blocks, each once, lazily."""
        wanted = self._depths.combinations(lambda part, result: result[0] == blocks[part.block])
        for _, results, multiples in wanted:
            if self.spell_depths(results[:4], results[4:]) == multiples:
                yield multiples

    def _heads(self, overall: float) -> dict[tuple[int, ...], float]:
        """Head channels -> the plainest multiple that gives them."""
        found: dict[tuple[int, ...], float] = {}
        for multiple in sorted(self._choices["head.width"], key=_effort):
            found.setdefault(head_channels(overall * multiple), multiple)
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


def _channels_of(part: StagePart, multiple: float) -> list[Any]:
    return [scaling.scale_channels(part.base_channels, multiple)]


def _repeats_of(part: StagePart, multiple: float) -> list[Any]:
    return [(kind, scaling.scale_repeats(kind, part.base_repeats, multiple)) for kind in ("rep", "csp_rep")]


class _Axis:
    """Widths or depths: for every overall multiple, what each multiple of each stage makes of it."""

    def __init__(self, axis: str, choices: Choices, results: Callable[[StagePart, float], list[Any]]) -> None:
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
        backbone: Sequence[Any],
        neck: Sequence[Any],
        rest: Callable[[float], Multiples | None],
    ) -> Multiples | None:
        """The plainest values, or None.

        Args:
            backbone, neck: what the stages have to become.
            rest: what else depends on the overall multiple: its values, or None where there are none.
        """
        best: Multiples | None = None
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
        return best

    def combinations(
        self, wanted: Callable[[StagePart, Any], bool]
    ) -> Iterator[tuple[float, tuple[Any, ...], Multiples]]:
        """Overall multiple, results of backbone and neck stages, and the multiples that give them; every
        combination of wanted results, not only the plainest spelling of each."""
        names = [getattr(part, self._axis) for part in _PARTS]
        for overall, backbone_tables, necks in self._plans:
            for neck_overall, neck_tables in necks:
                options = [
                    [item for item in table.items() if wanted(part, item[0])]
                    for part, table in zip(_PARTS, (*backbone_tables, *neck_tables), strict=True)
                ]
                for chosen in product(*options):
                    multiples = {name: multiple for name, (_, multiple) in zip(names, chosen, strict=True)}
                    own = {self._axis: overall, f"neck.{self._axis}": neck_overall}
                    yield overall, tuple(result for result, _ in chosen), {**own, **multiples}


def _look_up(
    parts: tuple[StagePart, ...], tables: list[_Table], wanted: Sequence[Any], axis: str
) -> Multiples | None:
    found = {}
    for part, table, result in zip(parts, tables, wanted, strict=True):
        multiple = table.get(result)
        if multiple is None:
            return None
        found[getattr(part, axis)] = multiple
    return found
