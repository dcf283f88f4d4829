import json

import numpy as np
import pytest
from click.testing import CliRunner

from evaluators.accuracy import FIGURES
from evaluators.accuracy.command import accuracy_command
from evaluators.accuracy.detections_file import read_detections
from foundation.errors import UserError
from tests.evaluators.accuracy.cases import random_case, reference

GOOD = {"image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "score": 0.5}


def write(folder, truth, detections):
    paths = folder / "truth.json", folder / "found.json"
    for path, content in zip(paths, (truth, detections), strict=True):
        path.write_text(json.dumps(content))
    return ["--ground-truth", str(paths[0]), "--detections", str(paths[1])]


@pytest.mark.parametrize("seed", [1, 5])
def test_json_is_pycocotools(tmp_path, seed):
    truth, detections = random_case(seed)
    result = CliRunner().invoke(accuracy_command, [*write(tmp_path, truth, detections), "--json"])
    figures = json.loads(result.stdout)["figures"]
    per_class, _ = figures.pop("per_class"), figures.pop("precision_at_recall")
    values = [-1 if value is None else value for value in figures.values()]
    np.testing.assert_allclose(values, reference(truth, detections).stats, rtol=0, atol=1e-12)
    assert set(per_class) == {entry["name"] for entry in truth["categories"]}


def test_json_is_pycocotools_on_real_annotations(tmp_path, shared_data):
    """COCO photos with jittered boxes, random scores (many equal), and strays, through the command line."""
    truth = json.loads((shared_data / "coco_by/annotations/instances_val.json").read_text())
    rng = np.random.default_rng(1)
    detections = []
    for one in truth["annotations"] * 8:
        box = np.array(one["bbox"]) + rng.normal(0, 0.08, 4) * max(one["bbox"][2:])
        box[2:] = np.maximum(box[2:], 0.5)
        score = round(float(rng.random()), 2)
        detections.append(
            {key: one[key] for key in ("image_id", "category_id")} | {"bbox": box.tolist(), "score": score}
        )
    crowded = max(
        truth["annotations"], key=lambda one: sum(d["image_id"] == one["image_id"] for d in detections)
    )
    detections += [{**d, "score": 0.5} for d in detections if d["image_id"] == crowded["image_id"]][:300]
    result = CliRunner().invoke(accuracy_command, [*write(tmp_path, truth, detections), "--json"])
    figures = json.loads(result.stdout)["figures"]
    expected = reference(truth, detections).stats
    values = [-1 if figures[name] is None else figures[name] for name in FIGURES]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def test_table_is_in_percent(tmp_path):
    truth, detections = random_case(1)
    lines = CliRunner().invoke(accuracy_command, write(tmp_path, truth, detections)).stdout.splitlines()
    expected = reference(truth, detections).stats
    assert lines[0] == f"AP         {100 * expected[0]:5.1f}"
    assert "AP by class" in lines


def test_undeclared_categories_are_ignored_with_a_warning(tmp_path):
    truth, detections = random_case(1)
    stray = {**detections[0], "category_id": 999}
    arguments = write(tmp_path, truth, [*detections, stray])
    result = CliRunner().invoke(accuracy_command, [*arguments, "--json"])
    assert "1 detections of categories" in result.stderr
    figures = json.loads(result.stdout)["figures"]
    assert figures["AP"] == pytest.approx(reference(truth, detections).stats[0], abs=1e-12)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, "are a list"),
        ([3], "detection number 0 is a number"),
        ([GOOD, {**GOOD, "image_id": 2}], "1 detections are of images .* image_id 2"),
        ([{key: GOOD[key] for key in ("image_id", "category_id", "bbox")}], "lacks 'score'"),
        ([{**GOOD, "bbox": [1, 2, 3]}], "four finite numbers"),
        ([{**GOOD, "bbox": [1, 2, 3, float("nan")]}], "four finite numbers"),
        ([{**GOOD, "bbox": [1, 2, 3, "4"]}], "four finite numbers"),
        ([{**GOOD, "bbox": [1, 2, -3, 4]}], "negative width"),
        ([GOOD, {**GOOD, "score": float("inf")}], "detection number 1: score"),
        ([{**GOOD, "score": None}], "score must be a finite number"),
        ([{**GOOD, "image_id": [1]}], "not an id"),
    ],
)
def test_broken_results(tmp_path, content, expected):
    path = tmp_path / "found.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=expected) as caught:
        read_detections(path, {1}, {5})
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_results_that_are_not_json(tmp_path):
    (tmp_path / "found.json").write_text("[{]")
    with pytest.raises(UserError, match="line 1, column 3"):
        read_detections(tmp_path / "found.json", {1}, {5})


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--ground-truth", "a"],
        ["--artefact", "a"],
        ["--ground-truth", "a", "--artefact", "b", "--data", "c"],
    ],
)
def test_incomplete_arguments(arguments):
    result = CliRunner().invoke(accuracy_command, arguments)
    assert isinstance(result.exception, UserError)


def test_help_shows_examples():
    assert "--ground-truth instances_val.json" in CliRunner().invoke(accuracy_command, ["--help"]).stdout
