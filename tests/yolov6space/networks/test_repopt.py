"""RepOptimizer: training one kernel with multipliers equals training the branches it stands for."""

import pytest
import torch
from torch.nn import functional as F

from tests.yolov6space.networks.making import tiny_model
from yolov6space.networks import build
from yolov6space.networks.blocks import LinearAddConv, RepOptConv
from yolov6space.networks.repopt import (
    Scales,
    apply_scales,
    build_scale_search,
    gradient_multipliers,
    learned_scales,
)


@pytest.mark.parametrize("identity", [False, True])
def test_steps_on_one_kernel_equal_steps_on_the_branches(identity):
    """Ten SGD steps with momentum, in float64: scaled branches against one kernel with multipliers."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    channels = 4
    s, t, u = random(channels), random(channels), random(channels)
    k3 = random(channels, channels, 3, 3).requires_grad_()
    k1 = random(channels, channels, 1, 1).requires_grad_()
    depthwise = torch.ones(channels, dtype=torch.float64, requires_grad=True)
    offset = (u - 1) if identity else torch.zeros_like(u)  # the identity starts at u and learns with scale 1

    def branches(x):
        out = F.conv2d(x, k3, padding=1) * s[:, None, None] + F.conv2d(x, k1) * t[:, None, None]
        return out + x * (depthwise + offset)[:, None, None] if identity else out

    start = k3 * s[:, None, None, None] + F.pad(k1 * t[:, None, None, None], [1, 1, 1, 1])
    if identity:
        start = start + F.pad(torch.diag(u)[:, :, None, None], [1, 1, 1, 1])
    kernel = start.detach().clone().requires_grad_()
    factors = gradient_multipliers(Scales(s, t, u if identity else None), kernel)
    learned = [k3, k1, depthwise] if identity else [k3, k1]
    many, one = (torch.optim.SGD(group, lr=1e-4, momentum=0.9) for group in (learned, [kernel]))
    for _ in range(10):
        x, target = random(2, channels, 6, 6), random(2, channels, 6, 6)
        many.zero_grad()
        one.zero_grad()
        ((branches(x) - target) ** 2).sum().backward()
        ((F.conv2d(x, kernel, padding=1) - target) ** 2).sum().backward()
        kernel.grad.mul_(factors)
        many.step()
        one.step()
        torch.testing.assert_close(F.conv2d(x, kernel, padding=1), branches(x))


def test_search_form_has_the_target_s_layers():
    model = tiny_model("csp_rep", "repopt")
    search, target = build_scale_search(model, 2), build(model, 2)
    searched = [name for name, m in search.named_modules() if isinstance(m, LinearAddConv)]
    assert searched == [name for name, m in target.named_modules() if isinstance(m, RepOptConv)]
    assert list(learned_scales(search)) == searched


def test_apply_scales_starts_at_the_sum_of_the_branches():
    model = tiny_model(conv="repopt")
    scales = learned_scales(build_scale_search(model, 2))
    name = "backbone.stage3.blocks.1"
    assert scales[name].identity is not None
    assert scales["backbone.stem"].identity is None
    scales[name] = Scales(torch.full((16,), 0.5), torch.zeros(16), torch.arange(16.0))
    target = build(model, 2)
    before = target.get_submodule(name).conv.weight.detach().clone()
    multipliers = apply_scales(target, scales)
    moved = target.get_submodule(name).conv.weight.detach() - 0.5 * before
    torch.testing.assert_close(moved[:, :, 1, 1], torch.diag(torch.arange(16.0)))
    assert moved[:, :, 0].abs().max() < 1e-6
    factors = multipliers[f"{name}.conv.weight"]
    assert factors[0, 0, 0, 0] == 0.25
    assert factors[3, 3, 1, 1] == 1.25
    assert factors[3, 2, 1, 1] == 0.25
    assert multipliers.keys() <= dict(target.named_parameters()).keys()


def test_scales_of_another_network_are_refused():
    scales = learned_scales(build_scale_search(tiny_model("csp_rep", "repopt"), 2))
    with pytest.raises(ValueError, match="another network"):
        apply_scales(build(tiny_model(conv="repopt"), 2), scales)


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="of kind repvgg"):
        build_scale_search(tiny_model(conv="repvgg"), 2)
