"""Which precisions this release can build, and the number format of the float part of a graph."""

from collections.abc import Sequence
from typing import Any

from foundation.errors import UserError
from yolov6space.candidate import Precision

FLOAT_FORMATS = ("fp32", "fp16")


def check_buildable(
    precision: Precision, calibration: Sequence[Any] | None, *, tuned: bool, trained: bool
) -> None:
    """Raises UserError for a precision that cannot be built, with what can.

    Args:
        tuned: the network was fine-tuned with its quantizers (QAT) and brings its own ranges.
        trained: False for a network that is only timed: QAT has the graph of PTQ, and so its latency.
    """
    if tuned:
        if precision.scheme != "qat":
            raise ValueError(f"a network that QAT made cannot be built as {precision.label}")
        return
    if precision.scheme == "qat" and trained:
        raise UserError(
            "int8 by QAT needs a network that was fine-tuned: train it with the scheme ptq or as fp32, "
            "then run python -m search.qat on it"
        )
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
