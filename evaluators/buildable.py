"""Which precisions this release can build, and the number format of the float part of a graph."""

from collections.abc import Sequence
from typing import Any

from foundation.errors import UserError
from yolov6space.candidate import Precision

FLOAT_FORMATS = ("fp32", "fp16")


def check_buildable(precision: Precision, calibration: Sequence[Any] | None) -> None:
    """Raises UserError for a precision that cannot be built, with what can."""
    if precision.scheme == "qat":
        raise UserError("precision int8 by QAT is not in this release; use the scheme ptq")
    if precision.kind == "int8" and not calibration:
        raise UserError("precision int8 needs calibration images; give some of the training split")


def float_format_of(precision: Precision, wanted: str) -> str:
    """fp32 or fp16: `wanted` for the float layers of int8; bf16 is a matter of the engine, not of the graph.

    Raises:
        ValueError: `wanted` is neither.
    """
    if wanted not in FLOAT_FORMATS:
        raise ValueError(f"float_format is {wanted!r}; choose one of {', '.join(FLOAT_FORMATS)}")
    return {"fp16": "fp16", "int8": wanted}.get(precision.kind, "fp32")
