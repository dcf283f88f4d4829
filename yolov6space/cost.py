"""What a network costs, from its spec alone: per-layer table, parameters, FLOPs, memory. No torch.

The table describes the deploy form (branches and BatchNorm folded) in the order of execution. A layer is
named after the module of `yolov6space.networks` that computes it (`backbone.stage2.blocks.0`,
`neck.upsample0`, `head.level8.cls_pred`); what is no module of its own gets a name under its parent
(`backbone.sppf.pool.1`, `backbone.stage3.blocks.0.add`, `head.project`). Names are unique and stable.

FLOPs are two per multiply-accumulate; bias, activation, pooling and additions are not counted. The published
tables were counted with a tool that takes a transposed 2x2 convolution of stride 2 for one that reads all
four weights per output, so the two of the neck weigh four times their true cost. `flops_published` follows
that convention and agrees with every printed figure; `flops` is the true count, 0.7 to 0.9 percent lower.
"""

from typing import NamedTuple

from yolov6space._rows import LayerCost, conv, stage, upsample, values_in, weightless
from yolov6space.candidate import MAX_STRIDE, STRIDES, ModelSpec, StageSpec

__all__ = ["BYTES_PER_VALUE", "Cost", "LayerCost", "cost", "layers", "totals"]

BYTES_PER_VALUE = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}


class Cost(NamedTuple):
    """Totals of a network, batch 1.

    Attributes:
        params: of the deploy form; this is what the paper prints.
        training_params: learnable parameters of the training form.
        flops, flops_published: see the module; in FLOPs, not G.
        weight_bytes: of the deploy form, at the precision asked for.
        activation_bytes: sum of all layer outputs, which is what is written once per image.
        peak_activation_bytes: most memory alive at a time when the layers run one after the other, every
            tensor is freed after its last reader, and joining channels is free.
    """

    params: int
    training_params: int
    flops: int
    flops_published: int
    weight_bytes: int
    activation_bytes: int
    peak_activation_bytes: int


def layers(
    model: ModelSpec,
    *,
    num_classes: int = 80,
    image_size: int | tuple[int, int] = 640,
    precision: str = "fp32",
) -> tuple[LayerCost, ...]:
    """The per-layer table of the deploy form, in the order of execution.

    Args:
        image_size: side in pixels, or (height, width); multiples of 32.
        precision: fp32, fp16, bf16 or int8; sets the bytes and nothing else.

    Raises:
        ValueError: a side that is no multiple of 32, no classes, or an unknown precision.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if height < MAX_STRIDE or width < MAX_STRIDE or height % MAX_STRIDE or width % MAX_STRIDE:
        raise ValueError(f"image size is {height}x{width}; both sides must be multiples of {MAX_STRIDE}")
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; a detector needs at least one class")
    if precision not in BYTES_PER_VALUE:
        raise ValueError(f"precision is {precision!r}; choose one of {', '.join(BYTES_PER_VALUE)}")
    table = _Table(model, height, width, BYTES_PER_VALUE[precision])
    laterals = table.backbone()
    outputs = table.neck(laterals)
    table.head(outputs, num_classes)
    return tuple(table.rows)


def cost(
    model: ModelSpec,
    *,
    num_classes: int = 80,
    image_size: int | tuple[int, int] = 640,
    precision: str = "fp32",
) -> Cost:
    """The totals of `layers` with the same arguments. Raises ValueError as `layers` does."""
    return totals(layers(model, num_classes=num_classes, image_size=image_size, precision=precision))


def totals(table: tuple[LayerCost, ...]) -> Cost:
    """Sums and peak memory of a per-layer table."""
    params = training = macs = upsampling = weights = written = 0
    last_reader = {}
    for row in table:
        params += row.params
        training += row.training_params
        macs += row.macs
        weights += row.weight_bytes
        written += row.output_bytes
        if row.kind == "transposed_conv":
            upsampling += row.macs
        for name in row.inputs:
            last_reader[name] = row.name
    alive = {"image": table[0].input_bytes}
    used = peak = table[0].input_bytes
    for row in table:
        alive[row.name] = row.output_bytes
        used += row.output_bytes
        peak = max(peak, used)
        for name in row.inputs:
            if last_reader[name] == row.name:
                used -= alive.pop(name)
    return Cost(params, training, 2 * macs, 2 * macs + 6 * upsampling, weights, written, peak)


class _Tensor(NamedTuple):
    """What flows between parts: the layer that made it, and its channels."""

    name: str
    channels: int


class _Table:
    """Collects the rows part by part."""

    def __init__(self, model: ModelSpec, height: int, width: int, size: int) -> None:
        self.rows: list[LayerCost] = []
        self.model, self.size = model, size
        self.at = {stride: (height // stride, width // stride) for stride in (1, 2, 4, 8, 16, 32)}

    def conv(
        self,
        name: str,
        inputs: tuple[_Tensor, ...],
        channels: int,
        kernel: int,
        stride: int,
        at: int,
        act: str,
    ) -> _Tensor:
        """A convolution with the training form of the fixed layers; `at` is the stride of its output."""
        names, width = tuple(each.name for each in inputs), sum(each.channels for each in inputs)
        self.rows.append(
            conv(name, names, width, channels, kernel, stride, self.at[at], act, "plain", self.size)
        )
        return _Tensor(name, channels)

    def stage(self, name: str, spec: StageSpec, inputs: tuple[_Tensor, ...], at: int) -> _Tensor:
        names, width = tuple(each.name for each in inputs), sum(each.channels for each in inputs)
        model = self.model
        self.rows += stage(name, spec, names, width, self.at[at], model.activation, model.conv, self.size)
        return _Tensor(self.rows[-1].name, spec.channels)

    def backbone(self) -> tuple[_Tensor, _Tensor, _Tensor]:
        """Stem, stages, SPPF; the features at strides 8, 16 and 32."""
        model, act, size = self.model, self.model.activation, self.size
        stem = conv(
            "backbone.stem", ("image",), 3, model.stem_channels, 3, 2, self.at[2], act, model.conv, size
        )
        self.rows.append(stem)
        here = _Tensor(stem.name, model.stem_channels)
        features = []
        for level, spec in enumerate(model.backbone, start=2):
            name = f"backbone.stage{level}"
            where = self.at[2**level]
            down = conv(
                f"{name}.down", (here.name,), here.channels, spec.channels, 3, 2, where, act, model.conv, size
            )
            self.rows.append(down)
            here = self.stage(name, spec, (_Tensor(down.name, spec.channels),), 2**level)
            features.append(here)
        hidden = here.channels // 2
        parts = [self.conv("backbone.sppf.reduce", (here,), hidden, 1, 1, 32, act)]
        shape = (hidden, *self.at[32])
        for index in range(3):
            name = f"backbone.sppf.pool.{index}"
            self.rows.append(weightless(name, "max_pool", (parts[-1].name,), shape, shape, 5, 0, size))
            parts.append(_Tensor(name, hidden))
        sppf = self.conv("backbone.sppf.expand", tuple(parts), here.channels, 1, 1, 32, act)
        return features[1], features[2], sppf

    def neck(self, features: tuple[_Tensor, _Tensor, _Tensor]) -> tuple[_Tensor, _Tensor, _Tensor]:
        """Rep-PAN; P3, P4 and P5. Its reduce and stride-2 convolutions are ReLU in every variant."""
        at8, at16, at32 = features
        p4, p3, n3, n4 = self.model.neck
        lateral5 = self.conv("neck.reduce0", (at32,), p4.channels, 1, 1, 32, "relu")
        top4 = self.stage("neck.p4", p4, (self.upsample("neck.upsample0", lateral5, 16), at16), 16)
        lateral4 = self.conv("neck.reduce1", (top4,), p3.channels, 1, 1, 16, "relu")
        out3 = self.stage("neck.p3", p3, (self.upsample("neck.upsample1", lateral4, 8), at8), 8)
        down4 = self.conv("neck.down0", (out3,), p3.channels, 3, 2, 16, "relu")
        out4 = self.stage("neck.n3", n3, (down4, lateral4), 16)
        down5 = self.conv("neck.down1", (out4,), p4.channels, 3, 2, 32, "relu")
        out5 = self.stage("neck.n4", n4, (down5, lateral5), 32)
        return out3, out4, out5

    def upsample(self, name: str, source: _Tensor, at: int) -> _Tensor:
        self.rows.append(upsample(name, source.name, source.channels, self.at[at], self.size))
        return _Tensor(name, source.channels)

    def head(self, features: tuple[_Tensor, _Tensor, _Tensor], num_classes: int) -> None:
        """The decoupled head, SiLU in every variant, and the expectation over the bins of DFL."""
        bins = self.model.reg_max + 1
        boxes = []
        for stride, feature, width in zip(STRIDES, features, self.model.head_channels, strict=True):
            name = f"head.level{stride}"
            stem = self.conv(f"{name}.stem", (feature,), width, 1, 1, stride, "silu")
            for branch, outputs in (("cls", num_classes), ("reg", 4 * bins)):
                inner = self.conv(f"{name}.{branch}_conv", (stem,), width, 3, 1, stride, "silu")
                out = f"{name}.{branch}_pred"
                self.rows.append(
                    conv(out, (inner.name,), width, outputs, 1, 1, self.at[stride], "none", "bias", self.size)
                )
            boxes.append(out)
        if self.model.use_dfl:
            anchors = sum(values_in((1, *self.at[stride])) for stride in STRIDES)
            shapes = (4 * bins, anchors, 1), (4, anchors, 1)
            self.rows.append(
                weightless("head.project", "project", tuple(boxes), *shapes, 1, 4 * bins * anchors, self.size)
            )
