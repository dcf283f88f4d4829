"""The deploy form of whole networks: same outputs folded, exported, and in ONNX Runtime."""

import random

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from tests.yolov6space.networks.making import randomise_norms, relative_difference, tiny_model
from yolov6space import cost
from yolov6space.candidate import CONV_KINDS
from yolov6space.networks import DeployGraph, build, export_onnx, fuse, realistic_statistics
from yolov6space.networks.initialise import noise_images
from yolov6space.space import Space

SIZE = 64


def live_network(model, classes=3, seed=0):
    """Random statistics everywhere, and predictors that are not zero."""
    torch.manual_seed(seed)
    detector = realistic_statistics(build(model, classes), seed)
    randomise_norms(detector, seed)
    return detector.eval()


def small_candidates(count):
    """Random candidates of the whole space, without those that take seconds each."""
    rng = random.Random(0)
    while count:
        model = Space.paper().sample(rng).model
        if cost.cost(model).params < 8e6:
            yield model
            count -= 1


def some_images(batch=1):
    return noise_images(batch, SIZE, torch.Generator().manual_seed(9))


def onnx_outputs(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["boxes", "scores"], {"images": images.numpy()})


@pytest.mark.parametrize(
    "model", list(small_candidates(12)), ids=lambda model: f"{model.conv}-{model.activation}"
)
def test_random_candidates_fold_and_export(tmp_path, model):
    detector = live_network(model)
    folded, images = fuse(detector), some_images()
    with torch.no_grad():
        trained, deployed = detector(images), folded(images)
        assert relative_difference(deployed.class_logits, trained.class_logits) < 1e-5
        assert relative_difference(deployed.distances, trained.distances) < 1e-5
        boxes, scores = DeployGraph(folded)(images)
    export_onnx(detector, tmp_path / "model.onnx", SIZE, 1)
    found_boxes, found_scores = onnx_outputs(tmp_path / "model.onnx", images)
    assert relative_difference(torch.from_numpy(found_boxes), boxes) < 1e-4
    assert np.abs(found_scores - scores.numpy()).max() < 1e-4


@pytest.mark.parametrize("conv", CONV_KINDS)
def test_folding_is_exact_in_float64_where_rounding_cannot_hide_an_error(conv):
    detector = live_network(tiny_model("csp_rep", conv, reg_max=16)).double()
    images = some_images().double()
    with torch.no_grad():
        trained, deployed = detector(images), fuse(detector)(images)
    assert relative_difference(deployed.class_logits, trained.class_logits) < 1e-12
    assert relative_difference(deployed.distances, trained.distances) < 1e-12


@pytest.mark.parametrize("block", ["rep", "csp_rep"])
def test_deploy_form_is_the_same_graph_for_every_kind(tmp_path, block):
    names, operators = [], []
    for conv in CONV_KINDS:
        detector = build(tiny_model(block, conv), 2)
        names.append([(n, tuple(p.shape)) for n, p in fuse(detector).named_parameters()])
        export_onnx(detector, tmp_path / "x.onnx", SIZE, 1)
        operators.append([(n.name, n.op_type) for n in onnx.load(tmp_path / "x.onnx").graph.node])
    assert all(other == names[0] for other in names)
    assert all(other == operators[0] for other in operators)


@pytest.mark.parametrize("conv", CONV_KINDS)
def test_fused_networks_have_biases_and_no_norms(conv):
    folded = fuse(build(tiny_model("csp_rep", conv), 2))
    modules = list(folded.modules())
    assert folded.is_folded and not folded.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in modules)
    convs = [module for module in modules if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    assert convs
    assert all(module.bias is not None for module in convs)


def test_fuse_is_idempotent_and_independent():
    detector = live_network(tiny_model("csp_rep"))
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    once = fuse(detector)
    twice = fuse(once)
    for name, tensor in once.state_dict().items():
        assert torch.equal(tensor, twice.state_dict()[name])
        assert tensor.data_ptr() != twice.state_dict()[name].data_ptr()
    for parameter in once.parameters():
        parameter.data.zero_()
    after = detector.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not detector.is_folded
    assert all(parameter.requires_grad for parameter in detector.parameters())


def test_fuse_leaves_a_training_network_in_training():
    detector = build(tiny_model(), 2).train()
    fuse(detector)
    assert detector.training


def test_onnx_has_the_agreed_names_static_shapes_and_named_weights(tmp_path):
    path = tmp_path / "model.onnx"
    detector = build(tiny_model("csp_rep", reg_max=16), 5)
    export_onnx(fuse(detector), path, (64, 96), 2)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version >= 17

    def shapes(values):
        return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    anchors = 8 * 12 + 4 * 6 + 2 * 3
    assert shapes(model.graph.input) == {"images": [2, 3, 64, 96]}
    assert shapes(model.graph.output) == {"boxes": [2, anchors, 4], "scores": [2, anchors, 5]}
    operators = {node.op_type for node in model.graph.node}
    assert operators <= {
        "Conv", "Relu", "Sigmoid", "Mul", "Add", "Sub", "Concat", "MaxPool", "ConvTranspose", "Reshape",
        "Transpose", "Softmax", "ReduceSum", "Split", "Constant",
    }  # fmt: skip
    weights = {weight.name for weight in model.graph.initializer}
    assert {f"detector.{name}" for name, _ in fuse(detector).named_parameters()} <= weights
    assert "/detector/backbone/stage3/blocks.1/conv2/conv/Conv" in {node.name for node in model.graph.node}


def test_onnx_of_another_batch_agrees(tmp_path):
    detector = live_network(tiny_model(reg_max=8, activation="lrelu"))
    images = some_images(batch=3)
    export_onnx(detector, tmp_path / "model.onnx", SIZE, 3)
    boxes, scores = onnx_outputs(tmp_path / "model.onnx", images)
    with torch.no_grad():
        expected_boxes, expected_scores = DeployGraph(detector)(images)
    np.testing.assert_allclose(boxes, expected_boxes.numpy(), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(scores, expected_scores.numpy(), atol=1e-5)


def test_export_does_not_change_the_detector(tmp_path):
    detector = build(tiny_model(), 2).train()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    export_onnx(detector, tmp_path / "model.onnx", SIZE, 1)
    assert detector.training
    assert all(torch.equal(detector.state_dict()[name], tensor) for name, tensor in before.items())
