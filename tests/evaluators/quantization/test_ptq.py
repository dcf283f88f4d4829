import contextlib
import dataclasses
import io
import logging
import warnings

import numpy as np
import pytest
import torch

from evaluators.artefact import noise_images
from evaluators.denormals import flushes_denormals
from evaluators.quantization import ptq, sensitivity
from foundation.errors import UserError, WorkFailedError
from tests.evaluators.networks import INT8, tiny_candidate
from yolov6space.networks import build, fuse, realistic_statistics


@pytest.fixture
def folded():
    torch.manual_seed(0)
    return fuse(realistic_statistics(build(tiny_candidate().model, 3)))


IMAGES = [noise_images(2, 64, 1), noise_images(2, 64, 2)]


def scores(network, images=IMAGES[0]):
    with torch.inference_mode():
        return network(torch.from_numpy(images)).class_logits


def test_every_convolution_is_quantized_and_nothing_else(folded):
    convolutions = {
        name
        for name, module in folded.named_modules()
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d)
    }
    assert ptq.quantize(folded, IMAGES, INT8) == ()
    assert set(ptq.quantized_layers(folded)) == convolutions
    assert sum("upsample" in name for name in convolutions) == 2
    on = {name for name, module in folded.named_modules() if getattr(module, "is_enabled", False)}
    expected = {f"{name}.{kind}_quantizer" for name in convolutions for kind in ("weight", "input")}
    assert on == expected


def test_half_the_range_of_weights_is_used_where_asked(folded):
    layer = folded.backbone.stage2.down.conv
    per_output = layer.weight.abs().amax((1, 2, 3))
    ptq.quantize(folded, IMAGES, INT8, half_weights=True)
    layer = folded.backbone.stage2.down.conv
    torch.testing.assert_close(layer.weight_quantizer.amax.flatten(), 2 * per_output)
    steps = layer.weight_quantizer(layer.weight) / (2 * per_output[:, None, None, None] / 127)
    assert round(float(steps.abs().max())) in (63, 64)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)


def test_scales_are_the_largest_absolute_values(folded):
    inputs = []
    layer = folded.backbone.stage2.down.conv
    hook = layer.register_forward_hook(lambda module, args, output: inputs.append(args[0]))
    scores(folded, IMAGES[0])
    scores(folded, IMAGES[1])
    hook.remove()
    weight, upsample = layer.weight.clone(), folded.neck.upsample0.weight.clone()
    ptq.quantize(folded, IMAGES, INT8)
    layer, transposed = folded.backbone.stage2.down.conv, folded.neck.upsample0
    largest = max(float(each.abs().max()) for each in inputs)
    assert float(layer.input_quantizer.amax) == pytest.approx(largest)
    per_output = weight.abs().amax((1, 2, 3))
    torch.testing.assert_close(layer.weight_quantizer.amax.flatten(), per_output)
    # weights of a transposed convolution are I,O,k,k: the scale belongs to the second axis
    torch.testing.assert_close(transposed.weight_quantizer.amax.flatten(), upsample.abs().amax((0, 2, 3)))


def test_quantization_changes_the_output_a_little(folded):
    exact = scores(folded)
    ptq.quantize(folded, IMAGES, INT8)
    error = (scores(folded) - exact).square().mean() / exact.var()
    assert 0 < error < 0.5


def test_model_optimizer_is_kept_quiet(folded, caplog):
    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(out):
        warnings.simplefilter("always")
        with contextlib.redirect_stderr(err):
            ptq.quantize(folded, IMAGES, INT8)
    assert (out.getvalue(), err.getvalue(), caught, caplog.records) == ("", "", [], [])
    assert logging.root.manager.disable == 0


def test_denormals_are_treated_as_before(folded):
    ptq.quantize(folded, IMAGES, INT8)
    assert not flushes_denormals()


@pytest.mark.parametrize("metric", ["mse", "cosine", "snr"])
def test_the_most_sensitive_layers_stay_in_float(folded, metric):
    precision = dataclasses.replace(INT8, float_layers=3, metric=metric)
    chosen = ptq.quantize(folded, IMAGES, precision)
    assert len(chosen) == 3
    for name in ptq.quantized_layers(folded):
        layer = folded.get_submodule(name)
        assert layer.input_quantizer.is_enabled == (name not in chosen)
        assert layer.weight_quantizer.is_enabled == (name not in chosen)


def test_int8_without_a_layer_in_int8_is_refused(folded):
    layers = sum(
        isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d) for module in folded.modules()
    )
    precision = dataclasses.replace(INT8, float_layers=layers, metric="mse")
    with pytest.raises(UserError, match=f"leave none of {layers} in int8"):
        ptq.quantize(folded, IMAGES, precision)


@pytest.mark.parametrize("value", [1e38, float("nan")])
def test_values_that_are_no_numbers_are_one_line(folded, value):
    with torch.no_grad():
        next(module for module in folded.modules() if isinstance(module, torch.nn.Conv2d)).weight.fill_(value)
    with pytest.raises(WorkFailedError, match=r"overflow or are no numbers .*train it again"):
        ptq.quantize(folded, IMAGES, INT8)


def test_a_layer_made_bad_is_found(folded):
    """One enormous weight in each filter, on a channel that is always 0, leaves no steps for all others."""
    bad = "backbone.stage3.blocks.0.conv"
    with torch.no_grad():
        before = folded.get_submodule("backbone.stage3.down.conv")
        before.weight[0] = 0
        before.bias[0] = -1
        weight = folded.get_submodule(bad).weight
        weight[:, 0, 0, 0] = 100 * weight.abs().max()
    with ptq.quiet():
        ptq.insert_quantizers(folded, IMAGES)
        for metric in sensitivity.METRICS:
            ranking = sensitivity.rank_layers(folded, IMAGES, metric)
            assert ranking[0].name == bad
            damages = [layer.damage for layer in ranking]
            assert damages == sorted(damages, reverse=True)
            assert min(damages) >= 0


def test_metrics_against_their_definitions():
    expected, got = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0])
    assert sensitivity.mse(got, expected) == 0.5
    assert sensitivity.snr(got, expected) == pytest.approx(1 / 25)
    assert sensitivity.cosine(got, expected) == pytest.approx(1 - 21 / (5 * np.sqrt(18)))
    for metric in sensitivity.METRICS.values():
        assert metric(expected, expected) == pytest.approx(0, abs=1e-12)
