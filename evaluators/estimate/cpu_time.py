"""Time of one pass on a CPU, or on a device that runs layers alike, with constants that a calibration finds.

A convolution takes the time of its multiplications at the rate of its number format (output channels come in
groups of the vector width, so narrow layers waste lanes; shallow products and 1x1 kernels are less
efficient), plus its traffic, plus a constant per layer. Activations beyond ReLU, additions, pooling and the
decoding of boxes cost time per value.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from evaluators.estimate.case import Case, Work, work_of
from evaluators.estimate.fit import Parameter

Floats = NDArray[np.float64]

LANES = 16  # output channels of one vector register of 32-bit sums
_BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "int8": 1.0}

PARAMETERS = (
    Parameter("giga_macs", 60.0, 1.5, "multiplications in fp32 at best, 10^9 a second, all threads"),
    Parameter("bf16_gain", 2.0, 0.5, "the same in bf16, relative to fp32"),
    Parameter("int8_gain", 3.5, 0.5, "the same in int8, relative to fp32"),
    Parameter("point_share", 0.8, 0.3, "rate of 1x1 kernels relative to 3x3"),
    Parameter("extra_depth", 20.0, 1.0, "start and end of a sum, as depth of the product"),
    Parameter("int8_extra_depth", 60.0, 1.0, "the same in int8: sums are converted and quantized again"),
    Parameter("extra_rows", 20.0, 1.0, "start and end of a layer, as rows of the product"),
    Parameter("memory_gbs", 20.0, 0.7, "traffic of activations, GB/s"),
    Parameter("weights_gbs", 15.0, 0.7, "traffic of weights, GB/s"),
    Parameter("layer_us", 5.0, 1.0, "one more layer, microseconds"),
    Parameter("pass_us", 100.0, 1.0, "one pass besides its layers, microseconds"),
    Parameter("silu_ns", 0.3, 1.0, "SiLU of a value, nanoseconds"),
    Parameter("int8_silu_ns", 0.3, 1.0, "the same in an int8 network"),
    Parameter("lrelu_ns", 0.05, 1.0, "LeakyReLU of a value, nanoseconds"),
    Parameter("other_passes", 1.5, 0.7, "addition and pooling: passes over their values"),
    Parameter("dfl_ns", 2.0, 1.0, "expectation over DFL bins, nanoseconds per value read"),
    Parameter("decode_ns", 2.0, 1.0, "decoding, nanoseconds per value of the output"),
    Parameter("fp16_gain", 2.0, 0.5, "multiplications in fp16 relative to fp32, on devices that have it"),
)


class CpuTime:
    """See the module and `evaluators.estimate.fit.TimeModel`."""

    parameters = PARAMETERS

    def milliseconds(self, values: Mapping[str, Floats], case: Case) -> Floats:
        """Time of one pass."""
        work = work_of(case.model, case.num_classes, case.image_size)
        kind = case.precision.kind
        layers = _layers(values, work, case, kind)
        if kind == "int8" and case.precision.float_layers:
            # Which layers stay float is found out later, so each counts with an equal share.
            share = min(1.0, case.precision.float_layers / float(work.count.sum()))
            layers = layers + share * np.maximum(0.0, _layers(values, work, case, "fp32") - layers)
        return layers @ work.count + _others(values, work, case)


def _layers(values: Mapping[str, Floats], work: Work, case: Case, kind: str) -> Floats:
    """Milliseconds of every distinct convolution with its activation: S,L."""
    int8, size = kind == "int8", _BYTES[kind]
    rate = values["giga_macs"] * 1e6  # per millisecond
    if kind != "fp32":
        rate = rate * values[f"{kind}_gain"]
    rows = case.batch * work.pixels + values["extra_rows"]
    columns = np.ceil(work.columns / LANES) * LANES
    depth = work.channels * work.taps + values["int8_extra_depth" if int8 else "extra_depth"]
    share = np.where(work.taps > 1, 1.0, values["point_share"])
    computing = rows * columns * depth / (rate * share)
    moving = case.batch * (work.read + work.written) * size / (values["memory_gbs"] * 1e6)
    weights = work.weights * size / (values["weights_gbs"] * 1e6)
    silu = work.silu * values["int8_silu_ns" if int8 else "silu_ns"] + work.lrelu * values["lrelu_ns"]
    activating = case.batch * work.written * silu * 1e-6
    return computing + moving + weights + activating + values["layer_us"] * 1e-3


def _others(values: Mapping[str, Floats], work: Work, case: Case) -> Floats:
    """Milliseconds of pooling, addition, decoding and of the pass itself: S."""
    moved = case.batch * work.other_values * _BYTES[case.precision.kind] * values["other_passes"]
    each = moved / (values["memory_gbs"] * 1e6) + values["layer_us"] * 1e-3
    decoding = work.project_values * values["dfl_ns"] + work.output_values * values["decode_ns"]
    return each @ work.other_count + (case.batch * decoding * 1e-6 + values["pass_us"] * 1e-3)[:, 0]
