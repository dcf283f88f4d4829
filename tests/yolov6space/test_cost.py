"""Cost from the spec alone, against the printed sizes and against sums done by hand."""

import dataclasses

import pytest

from yolov6space.cost import cost, layers, totals
from yolov6space.variants import get

# Parameters (M), true FLOPs (G), FLOPs as published (G); two digits from the configurations of the releases,
# and the one-digit figures that arXiv 2209.02976 prints (T: as corrected after the release).
SIZES = {
    "YOLOv6-N": (4.32, 11.04, 11.12),
    "YOLOv6-T": (9.70, 24.73, 24.91),
    "YOLOv6-S": (17.22, 43.87, 44.18),
    "YOLOv6-M": (34.29, 81.47, 82.18),
    "YOLOv6-L-ReLU": (58.54, 142.76, 144.01),
    "YOLOv6-L": (58.54, 142.76, 144.01),
    "YOLOv6-N-base": (4.32, 11.04, 11.12),
    "YOLOv6-S-base": (11.49, 27.30, 27.61),
    "YOLOv6-M-base": (27.73, 67.71, 68.41),
    "YOLOv6-L-base": (58.54, 142.76, 144.01),
    "table2-N-RepBlock": (4.32, None, 11.12),
    "table2-N-CSPStackRep-1/2": (2.30, None, 5.56),
    "table2-S-RepBlock": (17.22, None, 44.18),
    "table2-M-RepBlock": (67.08, None, 175.62),
    "table2-M-CSPStackRep-2/3": (34.29, None, 82.18),
    "table2-L-CSPStackRep-1/2": (58.54, None, 144.01),
    "table3-L-neck-192-depth-5": (58.56, None, 144.70),
}
PRINTED = {
    "YOLOv6-N": ("4.3", "11.1"),
    "YOLOv6-T": ("9.7", "24.9"),
    "YOLOv6-S": ("17.2", "44.2"),
    "YOLOv6-M": ("34.3", "82.2"),
    "YOLOv6-L-ReLU": ("58.5", "144.0"),
    "YOLOv6-L": ("58.5", "144.0"),
    "table2-N-CSPStackRep-1/2": ("2.3", "5.6"),
    "table2-M-RepBlock": ("67.1", "175.6"),
    "table3-L-neck-128-depth-12": ("58.5", "144.0"),
}


@pytest.mark.parametrize("name", SIZES)
def test_size_to_the_last_digit(name):
    params_m, flops_g, published_g = SIZES[name]
    found = cost(get(name).model)
    assert round(found.params / 1e6, 2) == params_m
    assert round(found.flops_published / 1e9, 2) == published_g
    if flops_g is not None:
        assert round(found.flops / 1e9, 2) == flops_g


@pytest.mark.parametrize("name", PRINTED)
def test_printed_figures(name):
    found = cost(get(name).model)
    assert (f"{found.params / 1e6:.1f}", f"{found.flops_published / 1e9:.1f}") == PRINTED[name]


# Sums over the tensors of the release's own state dicts, without running statistics and the constant of DFL. L
# has convolution biases there that BatchNorm cancels; ours has none, one per output channel of a plain 3x3.
@pytest.mark.parametrize(("name", "learnable"), [("YOLOv6-N", 4_737_532), ("YOLOv6-M", 37_170_324)])
def test_training_form_has_the_parameters_of_the_release(name, learnable):
    assert cost(get(name).model).training_params == learnable


def test_plain_training_form_lacks_only_the_biases_before_batchnorm():
    model = get("L").model
    biases = sum(
        layer.output_shape[0]
        for layer in layers(model)
        if layer.kind == "conv" and layer.kernel == 3 and layer.name.startswith("backbone")
    ) + sum(
        layer.output_shape[0]
        for layer in layers(model)
        if layer.kind == "conv"
        and layer.kernel == 3
        and ".blocks." in layer.name
        and layer.name.startswith("neck")
    )
    assert cost(model).training_params + biases == 58_589_161


def test_qarepvgg_trains_without_the_norms_of_two_branches():
    # 64 -> 64, 3x3: kernels 36864 and 4096, and two norms of 128, against three norms in RepVGG.
    model = get("N").model
    blocks = {
        conv: next(
            layer.training_params
            for layer in layers(dataclasses.replace(model, conv=conv))
            if layer.name == "neck.p4.blocks.1"
        )
        for conv in ("repvgg", "qarepvgg", "repopt", "plain")
    }
    assert blocks == {"repvgg": 41344, "qarepvgg": 41216, "repopt": 36992, "plain": 36992}


def test_layers_by_hand():
    table = {layer.name: layer for layer in layers(get("N").model, num_classes=3, image_size=(64, 96))}
    stem = table["backbone.stem"]
    assert (stem.input_shape, stem.output_shape) == ((3, 64, 96), (16, 32, 48))
    assert (stem.kernel, stem.stride, stem.groups, stem.activation) == (3, 2, 1, "relu")
    assert (stem.params, stem.macs) == (3 * 16 * 9 + 16, 3 * 16 * 9 * 32 * 48)
    upsample = table["neck.upsample0"]
    assert (upsample.kind, upsample.input_shape, upsample.output_shape) == (
        "transposed_conv",
        (64, 2, 3),
        (64, 4, 6),
    )
    assert (upsample.params, upsample.macs) == (64 * 64 * 4 + 64, 64 * 64 * 4 * 2 * 3)
    assert upsample.flops_published == 4 * upsample.flops
    first = table["neck.p4.blocks.0"]
    assert first.inputs == ("neck.upsample0", "backbone.stage4.blocks.5")
    assert first.input_shape == (64 + 128, 4, 6)
    assert table["head.level8.cls_pred"].output_shape == (3, 8, 12)
    assert table["head.level32.reg_pred"].output_shape == (4, 2, 3)
    assert table["head.level8.cls_conv"].activation == "silu"


def test_csp_stage_by_hand():
    table = [layer for layer in layers(get("M").model, image_size=64) if layer.name.startswith("neck.p3.")]
    blocks = [f"blocks.{index}.{part}" for index in range(3) for part in ("conv1", "conv2", "add")]
    assert [layer.name.removeprefix("neck.p3.") for layer in table] == ["main", *blocks, "side", "merge"]
    merge = table[-1]
    assert merge.inputs == ("neck.p3.blocks.2.add", "neck.p3.side")
    assert (merge.input_shape[0], merge.output_shape[0]) == (128, 96)
    assert table[3].params == 1  # the learnt scale of the shortcut


def test_plain_neck_convolutions_stay_relu_in_the_silu_network():
    activations = {layer.name: layer.activation for layer in layers(get("L").model) if layer.kind == "conv"}
    relu = {name for name, activation in activations.items() if activation == "relu"}
    assert relu == {"neck.reduce0", "neck.reduce1", "neck.down0", "neck.down1"}


def test_dfl_projection_is_counted():
    project = layers(get("M").model)[-1]
    assert (project.kind, project.params, project.macs) == ("project", 0, 4 * 17 * 8400)
    assert project.output_shape == (4, 8400, 1)


@pytest.mark.parametrize("name", ["N", "M"])
def test_every_input_is_an_earlier_layer_of_the_right_width(name):
    made = {"image": (3, 640, 640)}
    for layer in layers(get(name).model):
        assert layer.name not in made
        shapes = [made[each] for each in layer.inputs]
        if layer.kind == "project":
            assert sum(shape[1] * shape[2] for shape in shapes) == layer.input_shape[1]
        else:
            assert {shape[1:] for shape in shapes} == {layer.input_shape[1:]}
            channels = [shape[0] for shape in shapes]
            assert layer.input_shape[0] == (channels[0] if layer.kind == "add" else sum(channels))
        made[layer.name] = layer.output_shape


def test_flops_grow_with_the_area_and_bytes_with_the_precision():
    model = get("N").model
    small, large = cost(model, image_size=320), cost(model, image_size=640)
    assert large.flops == 4 * small.flops
    assert large.params == small.params
    half = cost(model, precision="fp16")
    assert (2 * half.weight_bytes, 2 * half.activation_bytes) == (large.weight_bytes, large.activation_bytes)


def test_peak_memory_by_a_slow_loop():
    table = layers(get("M").model, image_size=128, precision="int8")
    size = {"image": 3 * 128 * 128} | {layer.name: layer.output_bytes for layer in table}
    peak = 0
    for now, layer in enumerate(table):
        needed = {name for later in table[now:] for name in later.inputs if name in ("image", *size)}
        made = {"image"} | {earlier.name for earlier in table[: now + 1]}
        # Outputs nobody reads are kept: they are results.
        results = {each.name for each in table[: now + 1]} - {name for each in table for name in each.inputs}
        peak = max(peak, sum(size[name] for name in (needed & made) | results | {layer.name}))
    assert totals(table).peak_activation_bytes == peak


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 100}, "multiples of 32"),
        ({"image_size": (64, 0)}, "multiples of 32"),
        ({"num_classes": 0}, "at least one class"),
        ({"precision": "int4"}, "fp32, fp16, bf16, int8"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        layers(get("N").model, **arguments)
