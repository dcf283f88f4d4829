"""`accuracy --artefact`: the file that is timed is the file that is judged."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from evaluators.accuracy import FIGURES, PAPER, TorchEngine, judge
from evaluators.accuracy.agreement_command import agreement_command
from evaluators.accuracy.command import accuracy_command
from evaluators.accuracy.curves import load_curves
from evaluators.artefact import build_artefact, noise_images
from evaluators.data import load_data
from foundation.errors import UserError, WorkFailedError
from tests.evaluators.data.making import CATEGORIES, write_data, write_split
from tests.evaluators.networks import INT8, tiny_candidate
from yolov6space.networks import build, realistic_statistics

SIZE = 64


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def detector():
    import torch

    torch.manual_seed(0)
    network = realistic_statistics(build(tiny_candidate().model, num_classes=2))
    # A fresh head finds nothing at all: half of what it sees shall be an object.
    for name, parameter in network.named_parameters():
        if name.endswith("cls_pred.bias"):
            torch.nn.init.zeros_(parameter)
    return network


@pytest.fixture(scope="module")
def artefact(detector, tmp_path_factory):
    return build_artefact(
        tiny_candidate(),
        detector,
        class_names=["dog", "cat"],
        image_size=SIZE,
        folder=tmp_path_factory.mktemp("artefacts") / "tiny",
    )


def judged(artefact, source, *more):
    arguments = ["--artefact", str(artefact.folder), "--data", str(source), "--hardware", "cpu", "--json"]
    return CliRunner().invoke(accuracy_command, [*arguments, *more])


def test_equals_the_network_in_pytorch(artefact, detector, folder):
    result = json.loads(judged(artefact, folder).stdout)
    data = load_data(folder)
    # The network's classes stand in another order than the data's.
    val = data.split("val").with_classes(data.class_names, ("dog", "cat"))
    expected = judge(TorchEngine(detector, 2), val, image_size=SIZE)
    assert result["detections"] == pytest.approx(expected.detections, abs=2)
    assert expected.detections > 10
    for name in FIGURES:
        assert result["figures"][name] == pytest.approx(expected.figures.to_dict()[name], abs=1e-3)


def test_says_what_it_is_a_figure_of(artefact, folder):
    result = judged(artefact, folder, "--limit", "1")
    record = json.loads(result.stdout)
    assert record["artefact"] == artefact.hash
    assert record["protocol"] == PAPER.to_dict()
    assert record["data"] == {
        "name": folder.name,
        "fingerprint": load_data(folder, splits=("val",)).fingerprint,
    }
    assert (record["images"], record["image_size"], record["split"]) == (1, SIZE, "val")
    assert "CPU" in result.stderr


def test_data_of_other_classes_are_refused(artefact, tmp_path):
    birds = [{"id": 1, "name": "bird"}, CATEGORIES[0]]
    write_split(tmp_path, "val", categories=birds)
    error = judged(artefact, tmp_path).exception
    assert isinstance(error, UserError)
    assert "not those of the network (dog, cat)" in str(error)


def compared(artefact, source, *more):
    arguments = ["--artefact", str(artefact.folder), "--data", str(source), "--json", *more]
    return CliRunner().invoke(agreement_command, arguments)


def test_pytorch_and_the_engine_are_compared(artefact, folder):
    result = json.loads(compared(artefact, folder).stdout)
    assert list(result["backends"]) == ["pytorch", "cpu"]
    assert [one["backend"] for one in result["backends"].values()] == ["pytorch", "openvino"]
    aps = [one["figures"]["AP"] for one in result["backends"].values()]
    (pair,) = result["differences"]
    assert (pair["reference"], pair["other"]) == ("pytorch", "cpu")
    assert pair["ap_difference"] == pytest.approx(aps[1] - aps[0], abs=1e-15)
    assert (result["agree"], result["tolerance"]) == (True, 1e-3)


def test_a_difference_beyond_the_tolerance_fails(artefact, folder, monkeypatch):
    genuine = TorchEngine.infer

    def shifted(engine, images):
        boxes, scores = genuine(engine, images)
        return boxes + 40, scores

    monkeypatch.setattr(TorchEngine, "infer", shifted)
    result = compared(artefact, folder)
    assert isinstance(result.exception, WorkFailedError)
    assert "AP differs by" in str(result.exception)
    assert json.loads(result.stdout)["agree"] is False


def test_one_back_end_is_nothing_to_compare(artefact, folder):
    error = compared(artefact, folder, "--hardware", "cpu", "--hardware", "auto").exception
    assert "two different back ends" in str(error)


def test_ap_is_not_estimated(artefact, folder):
    error = judged(artefact, folder, "--hardware", "t4").exception
    assert isinstance(error, UserError)


def test_pytorch_takes_rectangles_and_an_engine_does_not(artefact, folder):
    assert isinstance(judged(artefact, folder, "--protocol", "rectangular").exception, UserError)
    result = json.loads(judged(artefact, folder, "--protocol", "rectangular", "--hardware", "pytorch").stdout)
    assert (result["backend"], result["protocol"]["rectangular"]) == ("pytorch", True)


def test_pytorch_says_that_it_runs_no_int8(detector, folder, tmp_path):
    int8 = build_artefact(
        tiny_candidate(INT8),
        detector,
        class_names=["dog", "cat"],
        image_size=SIZE,
        folder=tmp_path / "int8",
        calibration=[noise_images(1, SIZE, 0)],
    )
    told = judged(int8, folder, "--limit", "1", "--hardware", "pytorch")
    record = json.loads(told.stdout)
    assert record["precision"] == "fp32" and "not the AP of the int8 artefact" in record["caveat"]
    assert f"warning: {record['caveat']}" in told.stderr
    arguments = ["--artefact", str(int8.folder), "--data", str(folder), "--hardware", "pytorch"]
    assert CliRunner().invoke(accuracy_command, arguments).stdout.startswith("not the AP of the int8")
    pair = json.loads(compared(int8, folder, "--limit", "1").stdout)["backends"]
    assert [one["precision"] for one in pair.values()] == ["fp32", "int8"]
    assert pair["pytorch"]["caveat"] and pair["cpu"]["caveat"] is None


def test_curves_and_interval(artefact, folder, tmp_path):
    path = tmp_path / "made" / "curves.npz"
    result = json.loads(judged(artefact, folder, "--interval", "--curves", str(path)).stdout)
    curves = load_curves(path)
    assert curves.class_names == tuple(result["figures"]["per_class"])
    assert curves.precision.shape == curves.scores.shape == (10, 101, 2)
    shown = result["figures"]["precision_at_recall"]
    for name in ("AP", "AP50", "AP75"):
        assert np.mean(shown[name]) == pytest.approx(result["figures"][name], abs=1e-4)
    assert result["ap_interval"]["low"] <= result["figures"]["AP"] <= result["ap_interval"]["high"]


def test_curves_that_are_none(tmp_path):
    (tmp_path / "x.npz").write_text("hello")
    with pytest.raises(UserError, match="not a file of precision-recall curves"):
        load_curves(tmp_path / "x.npz")
    error = CliRunner().invoke(accuracy_command, ["--curves", "x.png"]).exception
    assert "name the file of curves .npz" in str(error)


def test_nothing_unfinished_is_left_behind(artefact, folder, tmp_path):
    judged(artefact, folder)
    assert not list((tmp_path / "cache" / "unfinished").glob("*.jsonl"))
    assert (tmp_path / "cache" / "unfinished").is_dir()
