"""Candidates as values: equality, keys, JSON, and what cannot exist."""

import dataclasses
import json
import subprocess
import sys

import pytest

from yolov6space.candidate import Candidate, ModelSpec, Precision, Recipe, SpecError, StageSpec
from yolov6space.variants import get, named


@pytest.mark.parametrize("name", named())
def test_json_round_trip(name):
    candidate = get(name)
    again = Candidate.from_dict(json.loads(json.dumps(candidate.to_dict())))
    assert again == candidate
    assert hash(again) == hash(candidate)
    assert again.key == candidate.key


def test_keys_are_stable_across_processes():
    code = "from yolov6space.variants import get; print(get('M').key, get('M').training_key)"
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in "ab"
    }
    assert runs == {f"{get('M').key} {get('M').training_key}\n"}


def test_every_part_of_a_candidate_changes_its_key():
    n = get("N")
    changed = [
        dataclasses.replace(n, model=dataclasses.replace(n.model, activation="silu")),
        dataclasses.replace(n, model=dataclasses.replace(n.model, stem_channels=24)),
        dataclasses.replace(n, recipe=Recipe(box_loss="diou")),
        dataclasses.replace(n, precision=Precision(kind="fp32")),
        dataclasses.replace(n, image_size=320),
    ]
    assert len({n.key, *(candidate.key for candidate in changed)}) == 6


def test_training_key_ignores_precision_only():
    n = get("N")
    quantized = dataclasses.replace(n, precision=Precision(kind="int8", scheme="ptq", float_layers=0))
    assert quantized.training_key == n.training_key
    assert dataclasses.replace(n, recipe=Recipe(box_loss="ciou")).training_key != n.training_key


IMPOSSIBLE = {
    "block": lambda: StageSpec(block="rp", channels=64, repeats=1),
    "channels is 20": lambda: StageSpec(block="rep", channels=20, repeats=1),
    "repeats is 0": lambda: StageSpec(block="rep", channels=64, repeats=0),
    "repeats is True": lambda: StageSpec(block="rep", channels=64, repeats=True),
    "hidden_channels is None": lambda: StageSpec(block="csp_rep", channels=64, repeats=1),
    "a rep stage has none": lambda: StageSpec(block="rep", channels=64, repeats=1, hidden_channels=32),
    "backbone must be four stages": lambda: dataclasses.replace(get("N").model, backbone=()),
    "head_channels must be three": lambda: dataclasses.replace(get("N").model, head_channels=(8,)),
    "head_channels at stride 16 is 9": lambda: dataclasses.replace(get("N").model, head_channels=(8, 9, 8)),
    "conv is 'dense'": lambda: dataclasses.replace(get("N").model, conv="dense"),
    "reg_max is -1": lambda: dataclasses.replace(get("N").model, reg_max=-1),
    "box_loss is 'l1'": lambda: Recipe(box_loss="l1"),
    "precision fp16 takes no scheme": lambda: Precision(kind="fp16", scheme="ptq"),
    "precision scheme is None": lambda: Precision(kind="int8"),
    "sensitivity metric is None": lambda: Precision(kind="int8", scheme="ptq", float_layers=3),
    "metric chooses float layers": lambda: Precision(kind="int8", scheme="ptq", float_layers=0, metric="mse"),
    "image_size is 100": lambda: dataclasses.replace(get("N"), image_size=100),
}


@pytest.mark.parametrize("message", IMPOSSIBLE)
def test_what_cannot_exist(message):
    with pytest.raises(SpecError, match=message):
        IMPOSSIBLE[message]()


def _without(data, *path):
    data = json.loads(json.dumps(data))
    inner = data
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return data


def test_wrong_json_names_the_place():
    good = get("M").to_dict()
    cases = [
        ([], "candidate must be an object with named fields, not list"),
        (_without(good, "model"), "model must be an object"),
        ({**good, "weights": 1}, "candidate has unknown fields: weights"),
        (_without(good, "model", "neck"), "model must|neck must be four stages|model lacks neck"),
        (_without(good, "model", "backbone", 2, "channels"), r"model.backbone\[2\] lacks channels"),
        ({**good, "recipe": {"box_loss": 3}}, "recipe: box_loss is 3; choose one of siou"),
        ({**good, "model": {**good["model"], "head_channels": 8}}, "model.head_channels must be a list"),
        ({**good, "model": {**good["model"], "backbone": 8}}, "model.backbone must be a list of four stages"),
    ]
    for data, message in cases:
        with pytest.raises(SpecError, match=message):
            Candidate.from_dict(data)


def test_values_are_frozen_and_hashable():
    n = get("N")
    with pytest.raises(dataclasses.FrozenInstanceError):
        n.image_size = 64
    assert len({n, get("n"), get("T")}) == 2
    assert isinstance(n.model, ModelSpec)
    assert not n.model.use_dfl
    assert get("M").model.use_dfl
