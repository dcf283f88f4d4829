import dataclasses
import json

import numpy as np
import onnx
import pytest
import torch

from evaluators import artefact as module
from evaluators.artefact import build_artefact, load_artefact, noise_images, untrained_artefact
from foundation.errors import UserError
from tests.evaluators.networks import INT8, tiny_candidate
from yolov6space.candidate import Precision
from yolov6space.networks import build, fuse


def make(folder, precision=None, **options):
    candidate = tiny_candidate(precision)
    return untrained_artefact(
        candidate, **{"num_classes": 2, "image_size": 64, "batch": 1, "folder": folder, **options}
    )


def test_round_trip_keeps_candidate_and_meaning(tmp_path):
    built = make(tmp_path / "a", batch=2)
    loaded = load_artefact(tmp_path / "a")
    assert loaded.meta == built.meta
    assert loaded.candidate == tiny_candidate()
    assert loaded.meta.batch == 2
    assert len(loaded.hash) == 64
    shape = onnx.load(loaded.onnx).graph.input[0].type.tensor_type.shape
    assert [dimension.dim_value for dimension in shape.dim] == [2, 3, 64, 64]


def test_the_same_content_has_the_same_hash_and_other_content_another(tmp_path):
    first = make(tmp_path / "a")
    assert make(tmp_path / "b").hash == first.hash
    assert make(tmp_path / "c", seed=1).hash != first.hash
    assert make(tmp_path / "d", image_size=96).hash != first.hash


def test_bf16_shares_the_onnx_file_of_fp32_but_not_the_hash(tmp_path):
    full, half = make(tmp_path / "a"), make(tmp_path / "b", Precision(kind="bf16"))
    assert full.meta.onnx_sha256 == half.meta.onnx_sha256
    assert full.hash != half.hash


def test_weights_are_the_training_form_and_rebuild_the_network(tmp_path):
    from safetensors.torch import load_file

    artefact = make(tmp_path / "a")
    detector = build(artefact.candidate.model, 2)
    detector.load_state_dict(load_file(artefact.weights))
    folder = tmp_path / "again"
    again = build_artefact(
        artefact.candidate, detector, class_names=["x", "y"], image_size=64, batch=1, folder=folder
    )
    assert again.hash == artefact.hash


def test_untrained_artefact_leaves_the_global_generator_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    make(tmp_path / "a")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("name", ["candidate.json", "weights.safetensors", "model.onnx", "artefact.json"])
def test_a_missing_file_is_named(tmp_path, name):
    artefact = make(tmp_path / "a")
    (artefact.folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing; build it again"):
        load_artefact(artefact.folder)


def test_a_folder_that_is_none_or_holds_one_is_told(tmp_path):
    make(tmp_path / "out" / "network")
    with pytest.raises(UserError, match="no such folder"):
        load_artefact(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"the artefact is in .*out/network"):
        load_artefact(tmp_path / "out")


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx"])
def test_one_flipped_bit_is_noticed(tmp_path, name):
    artefact = make(tmp_path / "a")
    path = artefact.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name} is damaged"):
        load_artefact(artefact.folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a readable"),
        ("[]", "not a readable"),
        ("{}", "not a readable"),
        ('{"format": 99}', "newer"),
    ],
)
def test_unreadable_description(tmp_path, text, message):
    artefact = make(tmp_path / "a")
    (artefact.folder / "artefact.json").write_text(text)
    with pytest.raises(UserError, match=message):
        load_artefact(artefact.folder)


def test_files_of_two_artefacts_do_not_mix(tmp_path):
    artefact, other = make(tmp_path / "a"), make(tmp_path / "b", Precision(kind="bf16"))
    (artefact.folder / "candidate.json").write_text((other.folder / "candidate.json").read_text())
    with pytest.raises(UserError, match="does not belong"):
        load_artefact(artefact.folder)


def test_an_edited_precision_is_noticed(tmp_path):
    artefact = make(tmp_path / "a")
    path = artefact.folder / "artefact.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "precision": "bf16"}))
    with pytest.raises(UserError, match="does not belong"):
        load_artefact(artefact.folder)


def test_a_failure_leaves_the_old_artefact_and_no_litter(tmp_path, monkeypatch):
    before = make(tmp_path / "a")
    monkeypatch.setattr(
        module, "_write_json", lambda path, value: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        make(tmp_path / "a", seed=1)
    assert load_artefact(tmp_path / "a").hash == before.hash
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_old_artefact_is_replaced(tmp_path):
    make(tmp_path / "a")
    new = make(tmp_path / "a", seed=1)
    assert load_artefact(tmp_path / "a").hash == new.hash
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_somebody_elses_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is no artefact"):
        make(tmp_path / "a")
    assert (tmp_path / "a" / "thesis.txt").read_text() == "years of work"


def test_folder_and_files_can_be_read_by_others(tmp_path):
    folder = make(tmp_path / "a").folder
    assert folder.stat().st_mode & 0o777 == 0o755
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in folder.iterdir())


def test_what_this_release_lacks_is_refused_with_advice(tmp_path):
    with pytest.raises(UserError, match="mse, cosine or snr"):
        make(tmp_path / "a", dataclasses.replace(INT8, float_layers=2, metric="ap"))
    assert not list(tmp_path.iterdir())


def test_qat_is_timed_as_ptq_before_training_and_needs_fine_tuning_afterwards(tmp_path):
    qat = dataclasses.replace(INT8, scheme="qat")
    assert make(tmp_path / "a", qat).hash == make(tmp_path / "b", INT8).hash
    with pytest.raises(UserError, match=r"scheme ptq.*search.qat"):
        build_artefact(
            tiny_candidate(qat),
            build(tiny_candidate().model, 1),
            class_names=["x"],
            image_size=64,
            folder=tmp_path / "c",
            calibration=[noise_images(1, 64, 0)],
        )
    assert not (tmp_path / "c").exists()


def test_int8_needs_images(tmp_path):
    candidate = tiny_candidate(INT8)
    with pytest.raises(UserError, match="needs calibration images"):
        build_artefact(
            candidate,
            build(candidate.model, 1),
            class_names=["x"],
            image_size=64,
            folder=tmp_path / "a",
            calibration=[],
        )


def test_a_folded_detector_or_wrong_names_are_a_programming_error(tmp_path):
    candidate = tiny_candidate()
    detector = build(candidate.model, 1)
    with pytest.raises(ValueError, match="folded"):
        build_artefact(candidate, fuse(detector), class_names=["x"], image_size=64, folder=tmp_path / "a")
    with pytest.raises(ValueError, match="2 class names"):
        build_artefact(candidate, detector, class_names=["x", "y"], image_size=64, folder=tmp_path / "a")


def test_noise_images_are_deterministic_pictures():
    images = noise_images(2, 64, seed=3)
    assert images.shape == (2, 3, 64, 64)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0.05
    assert np.array_equal(images, noise_images(2, 64, seed=3))
    assert not np.array_equal(images, noise_images(2, 64, seed=4))


def graph_types(path):
    graph = onnx.load(path).graph
    return {tensor.name: tensor.data_type for tensor in graph.initializer}, graph


def test_fp16_is_typed_fp16_inside_and_float32_outside(tmp_path):
    weights, graph = graph_types(make(tmp_path / "a", Precision(kind="fp16")).onnx)
    assert set(weights.values()) == {onnx.TensorProto.FLOAT16}
    ends = [*graph.input, *graph.output]
    assert {end.type.tensor_type.elem_type for end in ends} == {onnx.TensorProto.FLOAT}


def test_int8_for_nvidia_keeps_its_float_layers_in_fp16_and_is_another_artefact(tmp_path):
    precision = dataclasses.replace(INT8, float_layers=2, metric="mse")
    plain = make(tmp_path / "a", precision)
    artefact = make(tmp_path / "b", precision, float_format="fp16")
    weights, _ = graph_types(artefact.onnx)
    kernels = [
        weights[f"{name}.weight"] for name in (f"detector.{layer}" for layer in artefact.meta.float_layers)
    ]
    assert kernels == [onnx.TensorProto.FLOAT16] * 2
    assert onnx.TensorProto.INT8 in weights.values()
    assert onnx.TensorProto.FLOAT not in weights.values()
    assert artefact.hash != plain.hash
    assert (plain.meta.float_format, artefact.meta.float_format) == ("fp32", "fp16")


def test_an_artefact_of_an_earlier_release_is_read_as_float32(tmp_path):
    artefact = make(tmp_path / "a")
    path = artefact.folder / "artefact.json"
    fields = json.loads(path.read_text())
    del fields["float_format"]
    path.write_text(json.dumps(fields))
    assert load_artefact(artefact.folder).meta.float_format == "fp32"


def test_an_unknown_float_format_is_a_programming_error(tmp_path):
    with pytest.raises(ValueError, match="fp32, fp16"):
        make(tmp_path / "a", float_format="fp8")


def test_files_are_on_the_disk_before_they_are_in_place(tmp_path, monkeypatch):
    order = []
    for name in ("write_through", "put_in_place"):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *args, name=name, real=real: order.append(name) or real(*args)
        )
    untrained_artefact(tiny_candidate(), num_classes=2, image_size=64, folder=tmp_path / "a")
    assert order == ["write_through", "put_in_place"]
