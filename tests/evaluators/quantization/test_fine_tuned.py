"""A quantized network from the file that its fine-tuning left."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluators.artefact import noise_images
from evaluators.quantization import ptq
from evaluators.quantization.fine_tuned import load_quantized
from foundation.errors import UserError
from tests.evaluators.networks import INT8, tiny_candidate
from yolov6space.networks import build, fuse, realistic_statistics

IMAGES = [noise_images(2, 64, 1)]
MODEL = tiny_candidate().model


@pytest.fixture
def partly():
    """A network with quantizers, two layers of it in float, and weights moved since; and those two."""
    torch.manual_seed(0)
    network = fuse(realistic_statistics(build(MODEL, 3)))
    floats = ptq.quantize(network, IMAGES, dataclasses.replace(INT8, float_layers=2, metric="mse"))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.01)
    return network, floats


def test_what_comes_back_computes_the_same(partly, tmp_path):
    network, floats = partly
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, tmp_path / "w")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = load_quantized(MODEL, 3, tmp_path / "w")
    assert torch.equal(torch.rand(1), expected)  # loading draws nothing from the caller's generator
    assert set(again.float_layers) == set(floats)
    assert not again.network.training
    images = torch.from_numpy(noise_images(2, 64, 7))
    with torch.inference_mode():
        got, wanted = again.network(images), network(images)
    assert torch.equal(got.class_logits, wanted.class_logits)
    assert torch.equal(got.distances, wanted.distances)


def test_layers_in_float_have_no_ranges(partly):
    network, floats = partly
    ranged = {name.rsplit(".", 2)[0] for name in network.state_dict() if name.endswith("_amax")}
    assert ranged == set(ptq.quantized_layers(network)) - set(floats)


def test_other_files_are_refused(partly, tmp_path):
    network, _ = partly
    path = tmp_path / "w.safetensors"
    with pytest.raises(UserError, match=r"w.safetensors: cannot be read as weights .*run the QAT again"):
        load_quantized(MODEL, 3, path)
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="cannot be read"):
        load_quantized(MODEL, 3, path)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    with pytest.raises(UserError, match="not the quantized weights of this network"):
        load_quantized(MODEL, 4, path)
    state = load_file(path)
    save_file({name: tensor for name, tensor in state.items() if "stem" not in name}, path)
    with pytest.raises(UserError, match="not the quantized weights of this network"):
        load_quantized(MODEL, 3, path)
