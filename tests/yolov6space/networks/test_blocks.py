"""Every 3x3 block against its definition, written out, and against its own folded form."""

import pytest
import torch
from torch.nn import functional as F

from tests.yolov6space.networks.making import randomise_norms, relative_difference
from yolov6space.candidate import ACTIVATIONS, CONV_KINDS
from yolov6space.networks.blocks import CONVS, LinearAddConv, PointwiseConvNorm, activation

KINDS = {**CONVS, "linear_add": LinearAddConv, "pointwise": PointwiseConvNorm}
SHAPES = [(8, 8, 1), (8, 12, 1), (8, 8, 2), (3, 8, 2)]  # inputs, outputs, stride


def images(channels):
    return torch.randn(2, channels, 10, 14, generator=torch.Generator().manual_seed(1))


def made(kind, inputs, outputs, stride, act="relu"):
    torch.manual_seed(0)
    block = KINDS[kind](inputs, outputs, stride, act)
    randomise_norms(block)
    if kind == "linear_add":
        for scale in (block.scale3x3, block.scale1x1, block.scale_identity):
            if scale is not None:
                scale.data.uniform_(0.2, 2)
    return block


def test_registry_has_exactly_the_kinds_of_the_space():
    assert tuple(CONVS) == CONV_KINDS


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize(("inputs", "outputs", "stride"), SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_folding_keeps_the_function(kind, inputs, outputs, stride, act):
    block = made(kind, inputs, outputs, stride, act).eval()
    folded = block.fold()
    x = images(inputs)
    with torch.no_grad():
        expected = block(x)
        assert expected.shape == (2, outputs, 10 // stride, 14 // stride)
        assert relative_difference(folded(x), expected) < 1e-6
    assert [name for name, _ in folded.named_parameters()] == ["conv.weight", "conv.bias"]


def norm(x, bn):
    return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, False, 0.0, 1e-3)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), SHAPES)
def test_repvgg_is_three_branches_with_a_norm_each(inputs, outputs, stride):
    block, x = made("repvgg", inputs, outputs, stride).eval(), images(inputs)
    expected = norm(F.conv2d(x, block.conv3x3.weight, None, stride, 1), block.bn3x3)
    expected = expected + norm(F.conv2d(x, block.conv1x1.weight, None, stride), block.bn1x1)
    if (inputs, stride) == (outputs, 1):
        expected = expected + norm(x, block.bn_identity)
    torch.testing.assert_close(block(x), F.relu(expected))


@pytest.mark.parametrize(("inputs", "outputs", "stride"), SHAPES)
def test_qarepvgg_has_norms_on_the_3x3_and_on_the_sum(inputs, outputs, stride):
    block, x = made("qarepvgg", inputs, outputs, stride).eval(), images(inputs)
    total = norm(F.conv2d(x, block.conv3x3.weight, None, stride, 1), block.bn3x3)
    total = total + F.conv2d(x, block.conv1x1.weight, None, stride)
    if (inputs, stride) == (outputs, 1):
        total = total + x
    torch.testing.assert_close(block(x), F.relu(norm(total, block.bn)))


@pytest.mark.parametrize(("inputs", "outputs", "stride"), SHAPES)
def test_linear_add_scales_each_branch_per_channel(inputs, outputs, stride):
    block, x = made("linear_add", inputs, outputs, stride).eval(), images(inputs)
    total = F.conv2d(x, block.conv3x3.weight, None, stride, 1) * block.scale3x3[:, None, None]
    total = total + F.conv2d(x, block.conv1x1.weight, None, stride) * block.scale1x1[:, None, None]
    if (inputs, stride) == (outputs, 1):
        total = total + x * block.scale_identity[:, None, None]
    torch.testing.assert_close(block(x), F.relu(norm(total, block.bn)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_training_statistics_use_the_momentum_and_epsilon_of_the_family(kind):
    for module in KINDS[kind](8, 8).modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-3, 0.03)


def test_activations_are_those_they_are_called():
    x = torch.tensor([-2.0, 3.0])
    assert activation("relu")(x).tolist() == [0, 3]
    torch.testing.assert_close(activation("lrelu")(x), torch.tensor([-0.2, 3.0]))
    torch.testing.assert_close(activation("silu")(x), x / (1 + torch.exp(-x)))


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind, act):
    block = made(kind, 8, 8, 1, act).train()
    (block(images(8)) ** 2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_folding_keeps_the_number_format(kind):
    assert made(kind, 8, 8, 1).double().fold().conv.weight.dtype == torch.float64
