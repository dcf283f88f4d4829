"""What a latency is estimated of (`Case`), and the arrays a time model works on (`Work`)."""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from yolov6space.candidate import STRIDES, ModelSpec, Precision
from yolov6space.cost import layers

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One workload.

    Attributes:
        runtime: generation of the software where a model knows several, such as `TensorRT 8.4`; else empty.
    """

    model: ModelSpec
    precision: Precision
    batch: int = 1
    image_size: int = 640
    num_classes: int = 80
    runtime: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """Distinct layers of a network, batch 1; all arrays of convolutions have one entry per distinct layer.

    A convolution is a product of two matrices: `pixels` rows, `columns` columns, and `channels` times `taps` deep.
    A transposed convolution of stride 2 is one with four times the columns at the resolution of its input.

    Attributes:
        count: how often the layer occurs.
        pixels: rows of the product, positions of the output (of the input of a transposed convolution).
        columns: output channels (times four for a transposed convolution).
        channels: input channels.
        taps: kernel height times width (one for a transposed convolution).
        read, written: values of input and output.
        weights: values of weights and bias.
        silu, lrelu: whether that activation follows.
        other_count, other_values: of max pooling and addition: how often, and values read and written.
        project_values: values read by the expectation over DFL bins; 0 without DFL.
        input_values, output_values: of the whole network.
    """

    count: Floats
    pixels: Floats
    columns: Floats
    channels: Floats
    taps: Floats
    read: Floats
    written: Floats
    weights: Floats
    silu: Floats
    lrelu: Floats
    other_count: Floats
    other_values: Floats
    project_values: float
    input_values: float
    output_values: float


_ALIKE = attrgetter("kind", "kernel", "activation", "input_shape", "output_shape")
_KINDS = ("conv", "transposed_conv", "max_pool", "add", "project")
_CONV, _UP, _POOL, _ADD, _PROJECT = range(len(_KINDS))
_NUMBER = {kind: number for number, kind in enumerate(_KINDS)}


@lru_cache(maxsize=128)
def work_of(model: ModelSpec, num_classes: int, image_size: int) -> Work:
    """The arrays of a network. Raises ValueError as `yolov6space.cost.layers` does."""
    # Networks repeat their layers, and counting equal ones keeps the arrays short.
    rows = Counter(map(_ALIKE, layers(model, num_classes=num_classes, image_size=image_size)))
    numbers = [
        (count, _NUMBER[kind], kernel, act == "silu", act == "lrelu", *source, *target)
        for (kind, kernel, act, source, target), count in rows.items()
    ]
    table = np.array(numbers, dtype=float).T
    kinds = table[1]
    count, _, kernel, silu, lrelu, deep, high, wide, out, below, across = table[:, kinds <= _UP]
    up = kinds[kinds <= _UP] == _UP
    taps = np.where(up, 1.0, kernel * kernel)
    read, written = deep * high * wide, out * below * across
    pixels, columns = np.where(up, high * wide, below * across), np.where(up, 4 * out, out)
    others = table[:, (kinds == _POOL) | (kinds == _ADD)]
    values = others[5] * others[6] * others[7]  # addition reads two tensors of that size and writes one
    projected = table[:, kinds == _PROJECT]
    anchors = sum((image_size // stride) ** 2 for stride in STRIDES)
    return Work(
        count=count,
        pixels=pixels,
        columns=columns,
        channels=deep,
        taps=taps,
        read=read,
        written=written,
        weights=deep * columns * taps + out,
        silu=silu,
        lrelu=lrelu,
        other_count=others[0],
        other_values=values * np.where(others[1] == _POOL, 2.0, 3.0),
        project_values=float((projected[5] * projected[6]).sum()),
        input_values=3.0 * image_size * image_size,
        output_values=float(anchors * (num_classes + 4)),
    )
