"""The rows of the per-layer table: one function per kind of layer, and one for a whole stage."""

from functools import lru_cache
from typing import NamedTuple

from yolov6space.candidate import StageSpec

Shape = tuple[int, int, int]  # channels, height, width


class LayerCost(NamedTuple):
    """One layer of the deploy form, batch 1.

    Attributes:
        kind: `conv`, `transposed_conv`, `max_pool`, `add` (branch + learnt scale x shortcut) or `project`
            (the expectation over DFL bins; its shapes are values per anchor, anchors, 1).
        inputs: names of the layers read; `image` for the first. Several inputs of a convolution are joined
            along the channels, and so are the three of `project` along the anchors.
        input_shape, output_shape: (channels, height, width).
        activation: what follows: `relu`, `silu`, `lrelu` or `none`.
        params: weights and biases.
        training_params: learnable parameters of the same layer in the training form.
        macs: multiply-accumulates of one image.
        weight_bytes, input_bytes, output_bytes: at the precision asked for; biases count like weights.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    input_shape: Shape
    output_shape: Shape
    kernel: int
    stride: int
    groups: int
    activation: str
    params: int
    training_params: int
    macs: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int

    @property
    def flops(self) -> int:
        """Two per multiply-accumulate."""
        return 2 * self.macs

    @property
    def flops_published(self) -> int:
        """In the convention of the published tables."""
        return (8 if self.kind == "transposed_conv" else 2) * self.macs


def values_in(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


def weightless(
    name: str,
    kind: str,
    inputs: tuple[str, ...],
    source: Shape,
    target: Shape,
    kernel: int,
    macs: int,
    size: int,
) -> LayerCost:
    return LayerCost(
        name, kind, inputs, source, target, kernel, 1, 1, "none", 0, 0, macs,
        0, values_in(source) * size, values_in(target) * size,
    )  # fmt: skip


def conv(
    name: str,
    inputs: tuple[str, ...],
    width: int,
    channels: int,
    kernel: int,
    stride: int,
    where: tuple[int, int],
    act: str,
    form: str,
    size: int,
) -> LayerCost:
    """A convolution with bias; `form` is its training form, `where` the height and width of its output."""
    height, wide = where
    weights = width * channels * kernel * kernel
    params = weights + channels
    if form == "bias":
        training = params
    elif form == "repvgg":
        branches = 3 if width == channels and stride == 1 else 2
        training = weights + width * channels + 2 * channels * branches
    elif form == "qarepvgg":
        training = weights + width * channels + 4 * channels
    else:
        training = weights + 2 * channels
    source = (width, height * stride, wide * stride)
    target = (channels, height, wide)
    return LayerCost(
        name, "conv", inputs, source, target, kernel, stride, 1, act, params, training,
        weights * height * wide, params * size, values_in(source) * size, values_in(target) * size,
    )  # fmt: skip


def upsample(name: str, source: str, channels: int, where: tuple[int, int], size: int) -> LayerCost:
    """The transposed 2x2 convolution of stride 2; `where` is the height and width of its output."""
    height, width = where
    params = channels * channels * 4 + channels
    # Kernel equals stride: every output value reads one of the four weights per input channel.
    macs = channels * channels * height * width
    below, above = (channels, height // 2, width // 2), (channels, height, width)
    return LayerCost(
        name, "transposed_conv", (source,), below, above, 2, 2, 1, "none", params, params, macs,
        params * size, values_in(below) * size, values_in(above) * size,
    )  # fmt: skip


@lru_cache(maxsize=16384)
def stage(
    name: str,
    spec: StageSpec,
    inputs: tuple[str, ...],
    width: int,
    where: tuple[int, int],
    act: str,
    form: str,
    size: int,
) -> tuple[LayerCost, ...]:
    """The rows of a stage. Cached: a search meets the same stages again and again."""
    rows = []
    if spec.block == "rep":
        for index in range(spec.repeats):
            layer = f"{name}.blocks.{index}"
            rows.append(conv(layer, inputs, width, spec.channels, 3, 1, where, act, form, size))
            inputs, width = (layer,), spec.channels
        return tuple(rows)
    hidden = spec.hidden_channels or 0  # StageSpec requires it for csp_rep
    shape = (hidden, *where)
    rows.append(conv(f"{name}.main", inputs, width, hidden, 1, 1, where, act, "plain", size))
    for index in range(spec.repeats):
        block, before = f"{name}.blocks.{index}", rows[-1].name
        for part in ("conv1", "conv2"):
            source = (rows[-1].name,)
            rows.append(conv(f"{block}.{part}", source, hidden, hidden, 3, 1, where, act, form, size))
        add = weightless(f"{block}.add", "add", (rows[-1].name, before), shape, shape, 1, 0, size)
        rows.append(
            add._replace(params=1, training_params=1, weight_bytes=size, input_bytes=2 * add.input_bytes)
        )
    last = rows[-1].name
    rows.append(conv(f"{name}.side", inputs, width, hidden, 1, 1, where, act, "plain", size))
    joined = (last, rows[-1].name)
    rows.append(conv(f"{name}.merge", joined, 2 * hidden, spec.channels, 1, 1, where, act, "plain", size))
    return tuple(rows)
