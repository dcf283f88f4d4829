"""The analytic cost equals a count on the built, fused network, layer by layer."""

import random

import pytest
import torch
from torch import nn

from yolov6space.cost import cost, layers
from yolov6space.networks import build, fuse
from yolov6space.space import Space
from yolov6space.variants import get

COUNTED = (nn.Conv2d, nn.ConvTranspose2d)
OWN_MODULE = {"conv", "transposed_conv"}


def count(detector, height, width):
    """Name, kind, shapes, geometry, parameters and multiply-accumulates of every convolution, as it runs."""
    rows = []

    def hook(name):
        def record(module, inputs, output):
            weight = module.weight
            transposed = isinstance(module, nn.ConvTranspose2d)
            # Every weight works once per position of the output, of a transposed convolution of the input.
            place = inputs[0] if transposed else output
            rows.append(
                (
                    name.removesuffix(".conv"),
                    "transposed_conv" if transposed else "conv",
                    tuple(inputs[0].shape[1:]),
                    tuple(output.shape[1:]),
                    weight.shape[-1],
                    module.stride[0],
                    module.groups,
                    weight.numel() + module.bias.numel(),
                    weight.numel() * place.shape[-2] * place.shape[-1],
                )
            )

        return record

    for name, module in detector.named_modules():
        if isinstance(module, COUNTED):
            module.register_forward_hook(hook(name))
    with torch.inference_mode():
        detector(torch.zeros(1, 3, height, width, device="meta"))
    return rows


def assert_same(model, num_classes, height, width):
    with torch.device("meta"):  # shapes without numbers: nothing is allocated or computed
        training = build(model, num_classes)
    table = layers(model, num_classes=num_classes, image_size=(height, width))
    expected = [
        (
            layer.name,
            layer.kind,
            layer.input_shape,
            layer.output_shape,
            layer.kernel,
            layer.stride,
            layer.groups,
            layer.params,
            layer.macs,
        )
        for layer in table
        if layer.kind in OWN_MODULE
    ]
    deployed = fuse(training)
    assert count(deployed, height, width) == expected
    total = cost(model, num_classes=num_classes, image_size=(height, width))
    assert total.params == sum(parameter.numel() for parameter in deployed.parameters())
    assert total.training_params == sum(parameter.numel() for parameter in training.parameters())


@pytest.mark.parametrize("name", ["N", "M", "L"])
def test_official_variants(name):
    assert_same(get(name).model, 80, 64, 96)


@pytest.mark.slow
def test_random_candidates():
    check_random(40)


def check_random(count, seed=1):
    """Compare `count` random candidates of the paper space, over class numbers and input sizes."""
    space, rng = Space.paper(), random.Random(seed)
    for index in range(count):
        assert_same(space.sample(rng).model, 1 + index % 90, 32 + 32 * (index % 3), 64)
