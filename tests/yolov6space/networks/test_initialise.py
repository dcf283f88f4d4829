"""Realistic statistics: signals of ordinary size for any image, reproducible, without side effects."""

import pytest
import torch
from torch import nn

from tests.yolov6space.networks.making import tiny_model
from yolov6space.networks import build, fuse, realistic_statistics
from yolov6space.networks.initialise import noise_images
from yolov6space.variants import get


def network(seed=0, **choices):
    torch.manual_seed(seed)
    return build(tiny_model(**choices), 3)


def sizes_of_normed_signals(detector, images):
    sizes = []
    handles = [
        module.register_forward_hook(lambda module, _, output: sizes.append(float(output.abs().max())))
        for module in detector.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        output = detector(images)
    for handle in handles:
        handle.remove()
    return sizes, output


def test_signals_keep_an_ordinary_size_through_a_deep_network():
    torch.manual_seed(0)
    detector = realistic_statistics(build(get("N").model, 80)).eval()
    pictures = {
        "unseen": noise_images(2, 160, torch.Generator().manual_seed(99)),
        "flat": torch.full((1, 3, 160, 160), 0.4),
        "black": torch.zeros(1, 3, 160, 160),
    }
    for name, images in pictures.items():
        sizes, output = sizes_of_normed_signals(detector, images)
        assert len(sizes) > 50
        assert min(sizes) > 1e-2, name
        assert max(sizes) < 300, name
        assert output.class_logits.isfinite().all()
        assert output.class_logits.std() > 0.1


def test_same_seed_same_numbers_and_the_global_generator_is_left_alone():
    first, second = network(), network()
    state = torch.get_rng_state()
    realistic_statistics(first, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    realistic_statistics(second, seed=3)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    other = realistic_statistics(network(), seed=4)
    assert not torch.equal(other.backbone.stem.bn3x3.running_mean, first.backbone.stem.bn3x3.running_mean)


@pytest.mark.parametrize("training", [False, True])
def test_mode_and_momentum_are_given_back(training):
    detector = network().train(training)
    assert realistic_statistics(detector) is detector
    assert detector.training is training
    assert {m.momentum for m in detector.modules() if isinstance(m, nn.BatchNorm2d)} == {0.03}


def test_learned_predictors_are_kept():
    detector = network()
    level = detector.head.levels()[1]
    level.cls_pred.weight.data.fill_(0.25)
    realistic_statistics(detector)
    assert (level.cls_pred.weight == 0.25).all()
    assert level.reg_pred.weight.abs().sum() > 0


def test_a_folded_network_is_refused():
    with pytest.raises(ValueError, match="is folded"):
        realistic_statistics(fuse(network()))


def test_noise_images_are_pictures():
    images = noise_images(16, 64, torch.Generator().manual_seed(0))
    assert images.shape == (16, 3, 64, 64)
    assert images.min() >= 0 and images.max() <= 1
    assert images.mean((1, 2, 3)).std() > 0.1  # they differ in brightness
