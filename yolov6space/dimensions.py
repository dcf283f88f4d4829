"""Every dimension a space can have: its name, what its values may be, and when it applies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from yolov6space.candidate import (
    ACTIVATIONS,
    ASSIGNERS,
    BLOCK_KINDS,
    BOX_LOSSES,
    CLASS_LOSSES,
    CONV_KINDS,
    DISTILLATIONS,
    MAX_STRIDE,
    PRECISION_KINDS,
    QUANTIZATION_SCHEMES,
    SENSITIVITY_METRICS,
)

Value = str | int | float | None
Values = Mapping[str, Value]

BACKBONE_STAGES = ("backbone.stage2", "backbone.stage3", "backbone.stage4", "backbone.stage5")
NECK_STAGES = ("neck.p4", "neck.p3", "neck.n3", "neck.n4")  # in the order of ModelSpec.neck
BLOCKS = tuple(f"{stage}.block" for stage in (*BACKBONE_STAGES, *NECK_STAGES))

MAX_MULTIPLE = 8.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What the values of a dimension are.

    Attributes:
        ordered: whether one value lies between others, so that a step goes to the next one.
        describe: the values allowed, for messages.
        normalise: gives back the canonical form of a value, or raises ValueError.
    """

    ordered: bool
    describe: str
    normalise: Callable[[object], Value]


def _one_of(names: tuple[str, ...]) -> Kind:
    def normalise(value: object) -> Value:
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return value

    return Kind(False, f"one of {', '.join(names)}", normalise)


def _whole(low: int, high: int, step: int = 1, *, optional: bool = False) -> Kind:
    def normalise(value: object) -> Value:
        if optional and value is None:
            return None
        if type(value) is not int or not low <= value <= high or value % step:
            raise ValueError
        return value

    text = f"a whole number from {low} to {high}" + (f", a multiple of {step}" if step > 1 else "")
    return Kind(True, text + (", or null" if optional else ""), normalise)


def _multiple(value: object) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_MULTIPLE:
        raise ValueError  # NaN and infinity fail the comparison
    return float(value)


def _coefficient(value: object) -> Value:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    if len(str(value)) > 20 or "e" in str(value).lower():
        raise ValueError  # a huge exponent would build a huge number first
    try:
        fraction = Fraction(str(value)).limit_denominator(16)  # 0.667 means 2/3
    except ZeroDivisionError:
        raise ValueError from None
    if not 0 < fraction <= 1:
        raise ValueError
    return str(fraction)


_MULTIPLE = Kind(True, f"a number above 0, at most {MAX_MULTIPLE:g}", _multiple)

KINDS: dict[str, Kind] = {
    "width": _MULTIPLE,
    "depth": _MULTIPLE,
    **{
        f"{stage}.{part}": kind
        for stage in BACKBONE_STAGES
        for part, kind in (("block", _one_of(BLOCK_KINDS)), ("width", _MULTIPLE), ("depth", _MULTIPLE))
    },
    "neck.width": _MULTIPLE,
    "neck.depth": _MULTIPLE,
    **{
        f"{stage}.{part}": kind
        for stage in NECK_STAGES
        for part, kind in (("block", _one_of(BLOCK_KINDS)), ("width", _MULTIPLE), ("depth", _MULTIPLE))
    },
    "csp_coefficient": Kind(True, 'a fraction above 0, at most 1, such as "2/3" or 0.5', _coefficient),
    "head.width": _MULTIPLE,
    "conv": _one_of(CONV_KINDS),
    "activation": _one_of(ACTIVATIONS),
    "reg_max": _whole(0, 64),
    "box_loss": _one_of(BOX_LOSSES),
    "class_loss": _one_of(CLASS_LOSSES),
    "assigner": _one_of(ASSIGNERS),
    "distillation": _one_of(DISTILLATIONS),
    "precision": _one_of(PRECISION_KINDS),
    "quantization": _one_of(QUANTIZATION_SCHEMES),
    "float_layers": _whole(0, 256),
    "sensitivity_metric": _one_of(SENSITIVITY_METRICS),
    "image_size": _whole(MAX_STRIDE, 4096, MAX_STRIDE, optional=True),
}
"""Every dimension, those that others depend on first."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing to choose.

    Attributes:
        choices: at least one, each in canonical form and once; ascending where values have an order.
    """

    name: str
    choices: tuple[Value, ...]

    @property
    def ordered(self) -> bool:
        """Whether the choices have an order."""
        return KINDS[self.name].ordered


def _has_csp(values: Values) -> bool:
    return any(values[block] == "csp_rep" for block in BLOCKS)


def _is_int8(values: Values) -> bool:
    return values["precision"] == "int8"


def _has_float_layers(values: Values) -> bool:
    return values["precision"] == "int8" and values["float_layers"] != 0


CONDITIONS: dict[str, Callable[[Values], bool]] = {
    "csp_coefficient": _has_csp,
    "quantization": _is_int8,
    "float_layers": _is_int8,
    "sensitivity_metric": _has_float_layers,
}
"""When a dimension applies, given the values of the dimensions before it; those not listed always do."""


def applies(name: str, values: Values) -> bool:
    """Whether the dimension `name` means anything beside `values` (which hold the dimensions before it)."""
    condition = CONDITIONS.get(name)
    return condition is None or condition(values)
