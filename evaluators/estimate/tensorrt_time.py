"""Time of one pass of a TensorRT engine on a Turing GPU, layer by layer, from physics and few constants.

Every convolution is an implicit matrix product that is cut into tiles, one thread block per tile, spread over
the 40 multiprocessors. A block needs the time of its multiplications plus the time to fetch its operands, and
the network pays for what a tile computes beyond the edge of the product: this is what makes 96 channels
nearly as dear as 128. The tile that ends first is taken, as TensorRT's builder does by timing. Against the
computation stands the memory traffic of the layer; the slower of the two counts (a smooth maximum), and a
launch on top. Tensors that fit the second-level cache move faster. What the generations of TensorRT do
differently (SiLU and LeakyReLU cost passes of their own) are constants per generation.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from evaluators.estimate.case import Case, Work, work_of
from evaluators.estimate.fit import Parameter

Floats = NDArray[np.float64]

RUNTIMES = ("TensorRT 7.2", "TensorRT 8.2", "TensorRT 8.4")
PRECISIONS = ("fp16", "int8")

PROCESSORS = 40  # streaming multiprocessors of a T4
CACHE_BYTES = 8e6  # traffic of a layer about which the 4 MiB cache stops helping: two tensors of that size
# Tile shapes (rows, columns) of Turing's convolution kernels.
_TILE_ROWS = np.array([256, 128, 256, 128, 64, 64, 32, 128], dtype=float)
_TILE_COLUMNS = np.array([128, 128, 64, 64, 64, 32, 32, 32], dtype=float)
_CHANNEL_GROUP = {"fp16": 8, "int8": 32}  # channels are stored in groups of so many, padded with zeros
_BYTES = {"fp16": 2.0, "int8": 1.0}
_DECODING_PASSES = 6.0  # concatenation, sigmoid, transposition: half precision in every engine

PARAMETERS = (
    Parameter("tera_flops", 45.0, 0.3, "tensor cores in fp16 at the clock that 70 W allow, TFLOP/s"),
    Parameter("memory_gbs", 240.0, 0.15, "memory traffic, GB/s; 320 on the data sheet"),
    Parameter("cache_gain", 3.0, 0.5, "how much faster traffic is that stays in the second-level cache"),
    Parameter("operand_tbs", 3.0, 1.0, "fetching operands of tiles, all multiprocessors, TB/s"),
    Parameter("extra_depth", 64.0, 1.0, "start and end of a tile, as depth of the product"),
    Parameter("launch_us", 3.0, 0.5, "one more kernel, microseconds"),
    Parameter("pass_us", 30.0, 1.0, "one pass besides its layers, microseconds"),
    Parameter("activation_7", 2.0, 0.5, "SiLU of TensorRT 7: passes over its tensor beside a launch"),
    Parameter("activation_8", 1.2, 0.5, "the same of TensorRT 8, where it is partly fused"),
    Parameter("lrelu_share", 0.9, 0.2, "LeakyReLU relative to SiLU"),
    Parameter("dfl_passes", 15.0, 1.0, "expectation over DFL bins: passes over its input"),
    Parameter("pace_82", 1.0, 0.05, "speed of TensorRT 8.2 relative to 7.2"),
    Parameter("pace_84", 1.0, 0.05, "speed of TensorRT 8.4 relative to 7.2"),
    Parameter("int8_gain", 1.8, 0.2, "tensor cores in int8 relative to fp16; 2 on the data sheet"),
)


class TensorRtTime:
    """See the module and `evaluators.estimate.fit.TimeModel`."""

    parameters = PARAMETERS

    def milliseconds(self, values: Mapping[str, Floats], case: Case) -> Floats:
        """Time of one pass. Raises KeyError for a precision or runtime that is not in PRECISIONS, RUNTIMES."""
        work = work_of(case.model, case.num_classes, case.image_size)
        kind = case.precision.kind
        layers = _layers(values, work, case, kind)
        if kind == "int8" and case.precision.float_layers:
            # Which layers stay float is found out later, so each counts with an equal share. Conversions between
            # the formats are fused into the neighbouring layers.
            share = min(1.0, case.precision.float_layers / float(work.count.sum()))
            layers = layers + share * np.maximum(0.0, _layers(values, work, case, "fp16") - layers)
        total = layers @ work.count + _others(values, work, case)
        return total / _pace(values, case.runtime)[:, 0]


def _layers(values: Mapping[str, Floats], work: Work, case: Case, kind: str) -> Floats:
    """Milliseconds of every distinct convolution, with the activation behind it: S,L."""
    waves, depth = _geometry(work, case.batch, kind)
    rate = values["tera_flops"] * 1e9 / PROCESSORS  # per multiprocessor and millisecond
    if kind == "int8":
        rate = rate * values["int8_gain"]
    size = _BYTES[kind]
    per_depth = 2 * _TILE_ROWS * _TILE_COLUMNS / rate + (_TILE_ROWS + _TILE_COLUMNS) * size * PROCESSORS / (
        values["operand_tbs"] * 1e9
    )  # S,T
    tile = (waves * per_depth[0]).argmin(axis=1)  # the sets are close together: one choice serves them all
    computing = waves[np.arange(len(tile)), tile] * per_depth[:, tile] * (depth + values["extra_depth"])
    moved = _traffic(values, case.batch * (work.read + work.written) * size)
    moving = moved + work.weights * size / (values["memory_gbs"] * 1e6)
    both = np.sqrt(np.hypot(computing * computing, moving * moving))  # smooth maximum
    return both + values["launch_us"] * 1e-3 + _activation(values, work, case)


def _activation(values: Mapping[str, Floats], work: Work, case: Case) -> Floats:
    """Milliseconds of activations that are not fused into their convolution: S,L."""
    old = case.runtime == "TensorRT 7.2"
    passes = values["activation_7" if old else "activation_8"]
    share = work.silu + work.lrelu * values["lrelu_share"]
    size = _BYTES[case.precision.kind]
    passing = share * passes * _traffic(values, case.batch * work.written * size)
    return passing + (share > 0) * values["launch_us"] * 1e-3 if old else passing


def _others(values: Mapping[str, Floats], work: Work, case: Case) -> Floats:
    """Milliseconds of pooling, addition, decoding, input and of the pass itself: S."""
    size = _BYTES[case.precision.kind]
    memory = values["memory_gbs"] * 1e6
    each = _traffic(values, case.batch * work.other_values * size) + values["launch_us"] * 1e-3
    half = case.batch * _BYTES["fp16"]
    fixed = half * (_DECODING_PASSES * work.output_values + 2 * work.input_values)
    decoding = fixed + half * work.project_values * values["dfl_passes"]
    return each @ work.other_count + (values["pass_us"] * 1e-3 + decoding / memory)[:, 0]


def _traffic(values: Mapping[str, Floats], size: Floats) -> Floats:
    """Milliseconds to move so many bytes; what fits the cache moves faster."""
    share = size / CACHE_BYTES
    cached = size / (1 + share * share)
    return (size - (1 - 1 / values["cache_gain"]) * cached) / (values["memory_gbs"] * 1e6)


def _pace(values: Mapping[str, Floats], runtime: str) -> Floats:
    return {
        "TensorRT 7.2": np.ones_like(values["pace_82"]),
        "TensorRT 8.2": values["pace_82"],
        "TensorRT 8.4": values["pace_84"],
    }[runtime]


def _geometry(work: Work, batch: int, kind: str) -> tuple[Floats, Floats]:
    """Rounds of thread blocks over the multiprocessors (L,T; smooth, at least one) and padded depth (L)."""
    blocks = np.ceil(batch * work.pixels[:, None] / _TILE_ROWS) * np.ceil(
        work.columns[:, None] / _TILE_COLUMNS
    )
    group = _CHANNEL_GROUP[kind]
    return np.sqrt(1 + (blocks / PROCESSORS) ** 2), np.ceil(work.channels / group) * group * work.taps
