"""Upstream checkpoints: same outputs as an independent forward pass, or a refusal that says why."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F

from foundation.errors import UserError
from tests.yolov6space.networks import making
from tests.yolov6space.networks.reference_forward import Reference
from tests.yolov6space.networks.upstream_shapes import VARIANTS, network
from yolov6space.candidate import Candidate
from yolov6space.networks import build, fuse
from yolov6space.networks.upstream import import_command
from yolov6space.networks.upstream_modules import UpstreamModel, read_checkpoint
from yolov6space.networks.upstream_weights import import_checkpoint, translate
from yolov6space.variants import official

LISTS = Path(__file__).resolve().parents[4] / "shared" / "reference" / "upstream_state_dict"


def tensors_of(variant, *, folded=False, classes=80):
    return making.random_upstream(network(**VARIANTS[variant], folded=folded, classes=classes))


def assert_same_outputs(detector, tensors, act):
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        logits, boxes = Reference(tensors, act).outputs(images)
        for form in (detector, fuse(detector)):
            output = form(images)
            assert making.relative_difference(output.class_logits, logits) < 2e-5
            assert making.relative_difference(output.distances, boxes) < 2e-5


@pytest.mark.parametrize("letter", ["n", "m", "l"])
def test_our_shapes_are_those_of_the_reference_lists(letter):
    path = LISTS / f"yolov6{letter}.txt"
    if not path.exists():
        pytest.skip(f"no reference list {path.name} beside the project")
    assert network(**VARIANTS[f"YOLOv6-{letter.upper()}"]) == making.read_shapes(path)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_a_place_for_every_tensor(variant, folded):
    shapes = network(**VARIANTS[variant], folded=folded)
    empty = {name: torch.ones(()).expand(shape) for name, shape in shapes.items()}
    found = translate(UpstreamModel(empty, {}, {}))
    assert (found.variant, found.folded) == (variant, folded)
    assert found.candidate.model == official()[variant].model


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
def test_n_gives_the_outputs_of_the_reference(tmp_path, folded, legacy):
    tensors = tensors_of("YOLOv6-N", folded=folded)
    making.save_upstream(tmp_path / "n.pt", tensors, legacy=legacy)
    imported = import_checkpoint(tmp_path / "n.pt")
    assert (imported.variant, imported.folded) == ("YOLOv6-N", folded)
    assert_same_outputs(imported.detector, tensors, F.relu)


def test_m_in_half_precision_from_the_averaged_entry(tmp_path):
    tensors = tensors_of("YOLOv6-M")
    making.save_upstream(tmp_path / "m.pt", tensors, half=True, entry="ema")
    halved = {name: t.half().float() if t.is_floating_point() else t for name, t in tensors.items()}
    assert_same_outputs(import_checkpoint(tmp_path / "m.pt").detector, halved, F.relu)


@pytest.mark.parametrize(("variant", "act"), [("YOLOv6-L", F.silu), ("YOLOv6-L-ReLU", F.relu)])
def test_l_gives_the_outputs_of_the_reference(variant, act):
    tensors = tensors_of(variant)
    assert_same_outputs(translate(UpstreamModel(tensors, {}, {})).detector, tensors, act)


def test_own_number_of_classes(tmp_path):
    making.save_upstream(tmp_path / "n.pt", tensors_of("YOLOv6-N", classes=3))
    assert import_checkpoint(tmp_path / "n.pt").detector.num_classes == 3


def test_a_folded_checkpoint_folds_back_to_its_kernels():
    tensors = tensors_of("YOLOv6-N", folded=True)
    deployed = fuse(translate(UpstreamModel(tensors, {}, {})).detector)
    kernel = deployed.get_submodule("neck.p3.blocks.2.conv").weight
    torch.testing.assert_close(
        kernel, tensors["neck.Rep_p3.block.1.rbr_reparam.weight"], rtol=1e-6, atol=1e-7
    )


def test_another_epsilon_keeps_the_function():
    tensors = tensors_of("YOLOv6-N")
    norms = {name.removesuffix(".running_var") for name in tensors if name.endswith("running_var")}
    shifted = {n: t + 0.001 - 0.05 if n.endswith("running_var") else t for n, t in tensors.items()}
    found = translate(UpstreamModel(shifted, {}, dict.fromkeys(norms, 0.05)))
    assert_same_outputs(found.detector, tensors, F.relu)


def test_read_checkpoint_gives_names_and_values(tmp_path):
    tensors = tensors_of("YOLOv6-N")
    making.save_upstream(tmp_path / "n.pt", tensors)
    read = read_checkpoint(tmp_path / "n.pt")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_missing_and_unexpected_tensors_are_listed(tmp_path):
    tensors = tensors_of("YOLOv6-N")
    del tensors["neck.Rep_p4.block.2.rbr_1x1.conv.weight"]
    tensors["detect.reg_preds_dist.0.weight"] = torch.zeros(68, 32, 1, 1)
    making.save_upstream(tmp_path / "n.pt", tensors)
    with pytest.raises(UserError) as refusal:
        import_checkpoint(tmp_path / "n.pt")
    message = str(refusal.value)
    assert "1 missing (neck.Rep_p4.block.2.rbr_1x1.conv.weight)" in message
    assert "1 unexpected (detect.reg_preds_dist.0.weight)" in message
    assert "\n" not in message


def test_another_shape_is_named():
    tensors = tensors_of("YOLOv6-N") | {"neck.reduce_layer1.bn.bias": torch.zeros(5)}
    with pytest.raises(UserError, match=r"neck.reduce1.bn.bias \(5,\) instead of \(32,\)"):
        translate(UpstreamModel(tensors, {}, {}))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("backbone.stem.rbr_dense.conv.weight", ()),
        ("detect.cls_preds.0.weight", (0, 32, 1, 1)),
        ("detect.cls_preds.0.weight", ()),
        ("detect.cls_preds.1.bias", (7,)),
        ("neck.downsample1.bn.num_batches_tracked", (3,)),
        ("neck.downsample1.conv.bias", (3,)),
    ],
)
def test_impossible_tensors_are_refused(name, shape):
    with pytest.raises(UserError):
        translate(UpstreamModel(tensors_of("YOLOv6-N") | {name: torch.zeros(shape)}, {}, {}))


def test_numbers_that_are_not_finite_are_refused():
    tensors = tensors_of("YOLOv6-N")
    tensors["backbone.stem.rbr_1x1.bn.weight"][3] = float("nan")
    with pytest.raises(UserError, match=r"not finite.*backbone.stem.bn1x1.weight"):
        translate(UpstreamModel(tensors, {}, {}))


def test_a_relu_network_of_plain_blocks_is_not_taken_for_l(tmp_path):
    stem = {"backbone.stem.block.conv.weight": torch.zeros(64, 3, 3, 3)}
    making.save_upstream(tmp_path / "base.pt", stem, activation=nn.ReLU)
    with pytest.raises(
        UserError, match="a stem of 64 channels, kind plain, activation relu: none of YOLOv6-N"
    ):
        import_checkpoint(tmp_path / "base.pt")


def test_another_family_is_refused(tmp_path):
    torch.save({"model": {"backbone.conv1.weight": torch.zeros(4, 3, 3, 3)}}, tmp_path / "resnet.pt")
    with pytest.raises(UserError, match=r"no backbone\.stem of YOLOv6"):
        import_checkpoint(tmp_path / "resnet.pt")


def test_command_writes_weights_that_load_into_the_named_candidate(tmp_path):
    making.save_upstream(tmp_path / "n.pt", tensors_of("YOLOv6-N", classes=4))
    out = tmp_path / "n.safetensors"
    result = CliRunner().invoke(import_command, [str(tmp_path / "n.pt"), "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["variant"], report["num_classes"], report["source_form"]) == ("YOLOv6-N", 4, "training")
    with safe_open(out, "pt") as file:
        candidate = Candidate.from_dict(json.loads(file.metadata()["candidate"]))
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    assert candidate.key == report["key"]
    build(candidate.model, 4).load_state_dict(state)


def test_command_needs_the_folder_of_out(tmp_path):
    result = CliRunner().invoke(import_command, ["x.pt", "--out", str(tmp_path / "none" / "x.safetensors")])
    assert isinstance(result.exception, UserError)
    assert "create it first" in str(result.exception)
