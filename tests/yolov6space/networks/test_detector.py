"""The assembled detector: sizes, names, activations, decoding."""

import math

import pytest
import torch
from torch import nn

from tests.yolov6space.networks.making import tiny_model
from yolov6space import cost
from yolov6space.candidate import CONV_KINDS
from yolov6space.networks import DeployGraph, HeadOutput, build, fuse
from yolov6space.variants import official

DEPLOY_MILLIONS = {
    "YOLOv6-N": 4.32, "YOLOv6-T": 9.70, "YOLOv6-S": 17.22, "YOLOv6-M": 34.29, "YOLOv6-L-ReLU": 58.54,
    "YOLOv6-L": 58.54,
}  # fmt: skip
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@pytest.mark.parametrize("name", DEPLOY_MILLIONS)
def test_official_variants_have_their_published_parameters(name):
    with torch.device("meta"):
        folded = fuse(build(official()[name].model, 80))
    count = sum(parameter.numel() for parameter in folded.parameters())
    assert round(count / 1e6, 2) == DEPLOY_MILLIONS[name]


@pytest.mark.parametrize("conv", CONV_KINDS)
@pytest.mark.parametrize("block", ["rep", "csp_rep"])
def test_layers_are_those_of_the_cost_table(block, conv):
    model = tiny_model(block, conv, reg_max=16)
    seen = {}

    def note(name):
        def hook(module, inputs, output):
            seen[name] = (tuple(module.weight.shape), tuple(output.shape[1:]))

        return hook

    folded = fuse(build(model, 3))
    for name, module in folded.named_modules():
        if isinstance(module, CONVOLUTIONS):
            module.register_forward_hook(note(name.removesuffix(".conv")))
    folded(torch.zeros(1, 3, 96, 64))
    rows = [row for row in cost.layers(model, num_classes=3, image_size=(96, 64)) if row.macs]
    table = {row.name: row for row in rows if row.params}
    assert seen.keys() == table.keys()
    for name, (weight, _) in seen.items():
        bias = weight[1] if name.startswith("neck.upsample") else weight[0]
        assert table[name].params == math.prod(weight) + bias, name


@pytest.mark.parametrize("reg_max", [0, 16])
def test_shapes_of_the_outputs(reg_max):
    detector = build(tiny_model(reg_max=reg_max), 5).eval()
    output = detector(torch.rand(2, 3, 64, 96))
    anchors = 8 * 12 + 4 * 6 + 2 * 3
    assert output.class_logits.shape == (2, anchors, 5)
    assert output.distances.shape == (2, anchors, 4 * (reg_max + 1) if reg_max else 4)
    assert [tuple(f.shape) for f in output.features] == [(2, 16, 8, 12), (2, 24, 4, 6), (2, 32, 2, 3)]
    boxes, scores = detector.decode(output, 64, 96)
    assert boxes.shape == (2, anchors, 4)
    assert scores.shape == (2, anchors, 5)


def test_anchors_are_cell_centres_row_by_row():
    points, strides = build(tiny_model(), 1).anchors(64, 96)
    expected = [
        ((column + 0.5) * stride, (row + 0.5) * stride, stride)
        for stride in (8, 16, 32)
        for row in range(64 // stride)
        for column in range(96 // stride)
    ]
    assert torch.cat((points, strides), 1).tolist() == [list(row) for row in expected]


@pytest.mark.parametrize("reg_max", [0, 3])
def test_decode_equals_a_slow_loop(reg_max):
    detector = build(tiny_model(reg_max=reg_max), 2)
    points, strides = detector.anchors(32, 32)
    generator = torch.Generator().manual_seed(0)
    distances = torch.randn(1, len(points), 4 * (reg_max + 1) if reg_max else 4, generator=generator)
    logits = torch.randn(1, len(points), 2, generator=generator)
    boxes, scores = detector.decode(HeadOutput(logits, distances, ()), 32, 32)
    for anchor in range(len(points)):
        sides = []
        for side in range(4):
            if reg_max:
                bins = distances[0, anchor, side * (reg_max + 1) : (side + 1) * (reg_max + 1)].exp().tolist()
                sides.append(sum(index * weight for index, weight in enumerate(bins)) / sum(bins))
            else:
                sides.append(distances[0, anchor, side].item())
        (x, y), stride = points[anchor].tolist(), strides[anchor].item()
        left, top, right, bottom = (side * stride for side in sides)
        assert boxes[0, anchor].tolist() == pytest.approx(
            [x - left, y - top, x + right, y + bottom], abs=1e-3
        )
        expected = [1 / (1 + math.exp(-value)) for value in logits[0, anchor].tolist()]
        assert scores[0, anchor].tolist() == pytest.approx(expected, abs=1e-6)


def test_features_and_logits_of_a_level_stay_in_row_order():
    """A change in the image's top left corner moves the logits of the first anchors most."""
    detector = build(tiny_model(), 1).eval()
    for level in detector.head.levels():
        nn.init.normal_(level.cls_pred.weight)
    image = torch.full((1, 3, 256, 256), 0.5)
    changed = image.clone()
    changed[..., :8, :8] = 1.0
    with torch.no_grad():
        moved = (detector(changed).class_logits - detector(image).class_logits).abs()[0, :, 0]
    stride8 = moved[: 32 * 32].reshape(32, 32)
    assert stride8.argmax() == 0 or divmod(int(stride8.argmax()), 32) <= (3, 3)


def test_a_new_head_starts_at_the_prior():
    output = build(tiny_model(), 7).eval()(torch.rand(1, 3, 32, 32))
    torch.testing.assert_close(output.class_logits.sigmoid(), torch.full((1, 21, 7), 0.01))
    assert torch.equal(output.distances, torch.ones(1, 21, 4))


@pytest.mark.parametrize("form", [lambda detector: detector, fuse])
def test_activations_are_placed_as_published(form):
    detector = form(build(tiny_model("csp_rep", "plain", "silu"), 2))
    kinds = {
        name.removesuffix(".act"): type(m) for name, m in detector.named_modules() if name.endswith(".act")
    }
    plain_neck = {"neck.reduce0", "neck.reduce1", "neck.down0", "neck.down1"}
    assert {name for name, kind in kinds.items() if kind is nn.ReLU} == plain_neck
    relu = form(build(tiny_model("csp_rep", "plain", "relu"), 2))
    silu = {name.split(".")[0] for name, m in relu.named_modules() if isinstance(m, nn.SiLU)}
    assert silu == {"head"}


@pytest.mark.parametrize("size", [(30, 32), (32, 48), (0, 32)])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="multiples of 32"):
        build(tiny_model(), 1)(torch.zeros(1, 3, *size))


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="at least one class"):
        build(tiny_model(), 0)


def test_deploy_graph_is_forward_and_decode():
    detector = build(tiny_model(reg_max=4), 2).eval()
    images = torch.rand(1, 3, 64, 64)
    boxes, scores = DeployGraph(detector)(images)
    expected = detector.decode(detector(images), 64, 64)
    assert torch.equal(boxes, expected[0])
    assert torch.equal(scores, expected[1])
