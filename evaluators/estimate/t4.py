"""Latency on a Tesla T4 without a T4: the physical model calibrated on the published YOLOv6 speeds."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import numpy as np

from evaluators.estimate.case import Case
from evaluators.estimate.fit import Calibration, Observation, fit
from evaluators.estimate.tensorrt_time import PRECISIONS, RUNTIMES, TensorRtTime
from evaluators.latency.records import Estimate
from foundation.errors import UserError
from yolov6space.candidate import ModelSpec, Precision
from yolov6space.published import PublishedFigure, networks, published
from yolov6space.variants import named

DEVICE = "Tesla T4"
DEFAULT_RUNTIME = RUNTIMES[-1]
_FP16 = Precision(kind="fp16")
_INT8 = Precision(kind="int8", scheme="qat", float_layers=0)
_COPIES = ("release-0.2.0",)  # tables that print the measurements of another one again
_DOUBT_ELSEWHERE = 1.5  # published were 640 px, 80 classes, batch 1 and 32


def estimate_t4(case: Case) -> Estimate:
    """Latency of a pass on a Tesla T4 with its 90 % interval.

    Args:
        case: in fp16 or int8; its `runtime` is one of RUNTIMES, or empty for the newest of them.

    Raises:
        UserError: a precision or a runtime that nothing was published for.
    """
    if case.precision.kind not in PRECISIONS:
        raise UserError(
            f"precision {case.precision.kind}: T4 latencies are published in fp16 and int8 only, so no other "
            "can be estimated; use --precision fp16 or int8"
        )
    if not case.runtime:
        case = replace(case, runtime=DEFAULT_RUNTIME)
    if case.runtime not in RUNTIMES:
        raise UserError(f"{case.runtime}: nothing is published for it; choose one of {', '.join(RUNTIMES)}")
    calibration = t4_calibration()
    alike = case.image_size == 640 and case.batch in (1, 32)
    return calibration.estimate(
        case,
        source=f"estimated for {DEVICE}, {case.runtime}: physical model calibrated on "
        f"{calibration.observations} published YOLOv6 speeds",
        doubt=1.0 if alike else _DOUBT_ELSEWHERE,
    )


@cache
def t4_calibration() -> Calibration:
    """The model fitted to everything published; takes a fraction of a second, once per process."""
    return fit(TensorRtTime(), distinct(published_rows()))


def published_rows() -> list[Observation]:
    """Every printed T4 speed at 640 px of a YOLOv6 network whose configuration is known, as ms per pass.

    Left out are copies of a table in another place, and DFLv2, whose head is not in our space.
    """
    specs = named()
    rows = []
    for network in networks():
        if network not in specs:
            continue
        for figure in published(network):
            spec = _timed(specs[network].model, figure)
            if spec is None:
                continue
            batch = figure.protocol.batch or 1
            int8 = figure.protocol.precision == "int8"
            rows.append(
                Observation(
                    case=Case(
                        model=spec,
                        precision=_INT8 if int8 else _FP16,
                        batch=batch,
                        runtime=figure.protocol.runtime or "",
                    ),
                    ms=1e3 * batch / figure.value,
                    name=f"{network}, {figure.table}",
                )
            )
    return rows


def distinct(rows: Iterable[Observation]) -> list[Observation]:
    """One observation per case: a network that was printed several times counts once, with the mean speed."""
    repeats: dict[Case, list[Observation]] = {}
    for row in rows:
        repeats.setdefault(row.case, []).append(row)
    return [
        replace(same[0], ms=float(np.exp(np.mean(np.log([one.ms for one in same])))))
        for same in repeats.values()
    ]


def _timed(model: ModelSpec, figure: PublishedFigure) -> ModelSpec | None:
    """The deploy form that a figure is the speed of; None if it is no T4 speed of a network of our space."""
    protocol = figure.protocol
    if figure.metric != "fps" or protocol.device != DEVICE or protocol.image_size != 640:
        return None
    if figure.table in _COPIES or protocol.precision not in PRECISIONS or protocol.runtime not in RUNTIMES:
        return None
    if protocol.condition == "DFLv2":
        return None
    model = replace(model, conv="plain")  # every training form folds into the same network
    if protocol.condition == "DFL":
        return replace(model, reg_max=16)
    if protocol.condition == "without DFL":
        return replace(model, reg_max=0)
    return model
