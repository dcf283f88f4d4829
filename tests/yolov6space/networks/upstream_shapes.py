"""Tensor names and shapes of the release 0.2.x networks, written out from their configuration.

`test_upstream` holds them against the reference lists where those are present.
"""

from collections.abc import Iterator

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def _norm(name: str, width: int) -> Shapes:
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{leaf}", (width,)
    yield f"{name}.num_batches_tracked", ()


def _conv(name: str, inputs: int, outputs: int, kernel: int) -> Shapes:
    yield f"{name}.conv.weight", (outputs, inputs, kernel, kernel)
    yield from _norm(f"{name}.bn", outputs)


def _block(name: str, inputs: int, outputs: int, plain: bool, folded: bool, stride: int = 1) -> Shapes:
    if folded:
        place = "block.conv" if plain else "rbr_reparam"
        yield f"{name}.{place}.weight", (outputs, inputs, 3, 3)
        yield f"{name}.{place}.bias", (outputs,)
    elif plain:
        yield f"{name}.block.conv.bias", (outputs,)
        yield from _conv(f"{name}.block", inputs, outputs, 3)
    else:
        yield from _conv(f"{name}.rbr_dense", inputs, outputs, 3)
        yield from _conv(f"{name}.rbr_1x1", inputs, outputs, 1)
        if inputs == outputs and stride == 1:
            yield from _norm(f"{name}.rbr_identity", outputs)


def _chain(count: int) -> list[str]:
    return ["conv1", *(f"block.{index}" for index in range(count - 1))]


def network(
    width: float,
    backbone: tuple[int, ...],
    neck: int,
    *,
    csp: float | None = None,
    plain: bool = False,
    folded: bool = False,
    classes: int = 80,
) -> dict[str, tuple[int, ...]]:
    """Shapes by name. `backbone` and `neck` are repeats; with `csp` those of the double-conv sub-blocks."""

    def stage(name: str, inputs: int, outputs: int, count: int) -> Shapes:
        if csp is None:
            for index, place in enumerate(_chain(count)):
                yield from _block(f"{name}.{place}", outputs if index else inputs, outputs, plain, folded)
            return
        hidden = int(outputs * csp + 1e-9)
        yield from _conv(f"{name}.cv1", inputs, hidden, 1)
        yield from _conv(f"{name}.cv2", inputs, hidden, 1)
        yield from _conv(f"{name}.cv3", 2 * hidden, outputs, 1)
        for place in _chain(count):
            yield f"{name}.m.{place}.alpha", (1,)
            for part in ("conv1", "conv2"):
                yield from _block(f"{name}.m.{place}.{part}", hidden, hidden, plain, folded)

    def whole() -> Shapes:
        c = [int(width * channels) for channels in (64, 128, 256, 512, 1024)]
        yield from _block("backbone.stem", 3, c[0], plain, folded, 2)
        for level, inputs, outputs, count in zip((2, 3, 4, 5), c[:-1], c[1:], backbone, strict=True):
            yield from _block(f"backbone.ERBlock_{level}.0", inputs, outputs, plain, folded, 2)
            yield from stage(f"backbone.ERBlock_{level}.1", outputs, outputs, count)
        yield from _conv("backbone.ERBlock_5.2.cv1", c[4], c[4] // 2, 1)
        yield from _conv("backbone.ERBlock_5.2.cv2", 2 * c[4], c[4], 1)
        p3, p4, p5 = c[1], c[2], c[3]
        for name, inputs, outputs in (
            ("p4", p4 + c[3], p4), ("p3", p3 + c[2], p3), ("n3", 2 * p3, p4), ("n4", 2 * p4, p5),
        ):  # fmt: skip
            yield from stage(f"neck.Rep_{name}", inputs, outputs, neck)
        yield from _conv("neck.reduce_layer0", c[4], p4, 1)
        yield from _conv("neck.reduce_layer1", p4, p3, 1)
        for index, channels in ((0, p4), (1, p3)):
            yield f"neck.upsample{index}.upsample_transpose.weight", (channels, channels, 2, 2)
            yield f"neck.upsample{index}.upsample_transpose.bias", (channels,)
        yield from _conv("neck.downsample2", p3, p3, 3)
        yield from _conv("neck.downsample1", p4, p4, 3)
        yield "detect.proj", (17,)
        yield "detect.proj_conv.weight", (1, 17, 1, 1)
        for level, channels in enumerate((p3, p4, p5)):
            yield from _conv(f"detect.stems.{level}", channels, channels, 1)
            for branch, outputs in (("cls", classes), ("reg", 4 if csp is None else 68)):
                yield from _conv(f"detect.{branch}_convs.{level}", channels, channels, 3)
                yield f"detect.{branch}_preds.{level}.weight", (outputs, channels, 1, 1)
                yield f"detect.{branch}_preds.{level}.bias", (outputs,)

    return dict(whole())


VARIANTS = {
    "YOLOv6-N": {"width": 0.25, "backbone": (2, 4, 6, 2), "neck": 4},
    "YOLOv6-T": {"width": 0.375, "backbone": (2, 4, 6, 2), "neck": 4},
    "YOLOv6-S": {"width": 0.5, "backbone": (2, 4, 6, 2), "neck": 4},
    "YOLOv6-M": {"width": 0.75, "backbone": (2, 3, 5, 2), "neck": 3, "csp": 2 / 3},
    "YOLOv6-L-ReLU": {"width": 1.0, "backbone": (3, 6, 9, 3), "neck": 6, "csp": 1 / 2},
    "YOLOv6-L": {"width": 1.0, "backbone": (3, 6, 9, 3), "neck": 6, "csp": 1 / 2, "plain": True},
}
