"""Shared weights: an architecture with its slices is the architecture with these weights of its own."""

from dataclasses import replace

import pytest
import torch

from yolov6space.candidate import ModelSpec, StageSpec
from yolov6space.networks import build
from yolov6space.networks.supernet import Supernet


def stage(block: str, channels: int, repeats: int, hidden: int | None = None) -> StageSpec:
    return StageSpec(block=block, channels=channels, repeats=repeats, hidden_channels=hidden)


REP, WIDE = stage("rep", 8, 1), stage("rep", 16, 2)
CSP = stage("csp_rep", 16, 1, 8)


def model(backbone: StageSpec, neck: StageSpec, **rest: object) -> ModelSpec:
    told = {"stem_channels": 8, "backbone": (backbone,) * 4, "neck": (neck,) * 4, "head_channels": (8, 8, 8)}
    return ModelSpec(**{**told, **rest})  # type: ignore[arg-type]


NARROW, MIXED, LARGE = model(REP, REP), model(WIDE, CSP, conv="plain"), model(WIDE, WIDE, stem_channels=16)
MODELS = (NARROW, MIXED, LARGE, model(CSP, REP, activation="silu"))


@pytest.fixture
def supernet() -> Supernet:
    torch.manual_seed(0)
    made = Supernet(MODELS, 3, reg_max=0)
    with torch.no_grad():  # predictors begin at zero and would hide everything before them
        for name, parameter in made.named_parameters():
            if "_pred" in name:
                parameter.normal_()
    return made


@pytest.mark.parametrize("wanted", MODELS)
def test_an_architecture_runs_with_its_slices(supernet: Supernet, wanted: ModelSpec) -> None:
    images = torch.rand(2, 3, 64, 64)
    supernet.activate(wanted)
    own = supernet.detector(wanted)
    assert own.model == wanted
    found, expected = supernet(images), own.train()(images)
    torch.testing.assert_close(found.class_logits, expected.class_logits)
    torch.testing.assert_close(found.distances, expected.distances)


def test_a_narrow_layer_has_the_first_channels_of_a_wide_one(supernet: Supernet) -> None:
    narrow, large = supernet.detector(NARROW), supernet.detector(LARGE)
    kernel = large.backbone.stage3.down.conv3x3.weight
    assert kernel.shape[:2] == (16, 16)
    torch.testing.assert_close(narrow.backbone.stage3.down.conv3x3.weight, kernel[:8, :8])


def test_after_a_concatenation_every_part_is_sliced_for_itself(supernet: Supernet) -> None:
    """P4 reads 8 + 8 channels in the narrow network and 16 + 16 in the large one."""
    narrow = supernet.detector(NARROW).neck.p4.blocks[0].conv3x3.weight
    large = supernet.detector(LARGE).neck.p4.blocks[0].conv3x3.weight
    torch.testing.assert_close(narrow, torch.cat((large[:8, :8], large[:8, 16:24]), 1))


def test_kinds_of_convolution_share_the_kernel(supernet: Supernet) -> None:
    plain, rep = supernet.detector(MIXED), supernet.detector(replace(MIXED, conv="repvgg"))
    torch.testing.assert_close(
        plain.backbone.stage2.down.conv.weight, rep.backbone.stage2.down.conv3x3.weight
    )


def test_a_step_changes_what_the_architecture_has_and_nothing_else(supernet: Supernet) -> None:
    before = {name: parameter.detach().clone() for name, parameter in supernet.named_parameters()}
    supernet.activate(NARROW)
    supernet(torch.rand(2, 3, 64, 64)).class_logits.square().sum().backward()
    torch.optim.SGD(supernet.parameters(), lr=0.1).step()
    after = dict(supernet.named_parameters())
    kernel, old = (weights["backbone/stage3/down/conv/weight"] for weights in (after, before))
    changed = (kernel != old).flatten(2).any(-1)
    assert changed[:8, :8].all() and not changed[8:].any() and not changed[:, 8:].any()
    csp = "neck/p4/main/conv/weight"
    assert torch.equal(after[csp], before[csp])


def test_it_reaches_as_far_as_its_architectures_do(supernet: Supernet) -> None:
    assert supernet.covers(model(stage("rep", 8, 2), stage("rep", 16, 1)))  # between those it was made for
    assert supernet.covers(replace(NARROW, reg_max=16))  # the head's own form aside
    for beyond in (
        model(stage("rep", 24, 1), REP),
        model(stage("rep", 8, 3), REP),
    ):
        assert not supernet.covers(beyond)
        with pytest.raises(ValueError, match="do not reach"):
            supernet.detector(beyond)


def test_which_architecture_a_step_trains_depends_on_the_step_alone(supernet: Supernet) -> None:
    def drawn(network: Supernet) -> list[ModelSpec]:
        found = []
        for step in range(40):
            network.activate_for(step)
            found.append(network.active)
        return found

    first = drawn(supernet)
    assert first == drawn(Supernet(MODELS, 3, reg_max=0)) and set(first) == set(MODELS)


def test_the_first_weights_are_those_of_a_new_network() -> None:
    torch.manual_seed(0)
    fresh = Supernet([NARROW], 3, reg_max=0).detector(NARROW)
    usual = build(NARROW, 3)
    for name, expected in usual.named_parameters():
        found = fresh.get_parameter(name)
        if expected.ndim == 4 and "_pred" not in name:
            assert found.detach().std().item() == pytest.approx(expected.detach().std().item(), rel=0.35), (
                name
            )
        elif "upsample" not in name:
            torch.testing.assert_close(found, expected)


def test_no_architecture_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Supernet([], 3, reg_max=0)
