"""`accuracy --artefact`: the file that is timed is the file that is judged."""

import json

import pytest
from click.testing import CliRunner

from evaluators.accuracy import PAPER, TorchEngine, judge
from evaluators.accuracy.command import accuracy_command
from evaluators.artefact import build_artefact
from evaluators.data import load_data
from foundation.errors import UserError
from tests.evaluators.data.making import CATEGORIES, write_data, write_split
from tests.evaluators.networks import tiny_candidate
from yolov6space.networks import build, realistic_statistics

SIZE = 64


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
    for name, value in expected.figures.to_dict().items():
        assert result["figures"][name] == pytest.approx(value, abs=1e-3)


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
