"""The main job on real images in new processes: search, search on, export; a kill in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from storage import Repository, TrialState

TINY_SPACE = """\
extends: default
dimensions:
  width: [0.125]
  depth: [0.1]
  backbone.*.depth: 0.5
  neck.depth: 0.25
  reg_max: [0]
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny COCO data set of bright squares and dark discs, and a space of tiny networks."""
    root = tmp_path_factory.mktemp("place")
    (root / "tiny.yaml").write_text(TINY_SPACE)
    for split, count in (("train", 24), ("val", 8)):
        write_split(root / "shapes", split, count)
    return root


def write_split(root: Path, split: str, count: int) -> None:
    rng = np.random.default_rng(len(split))
    (root / "images" / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        picture = rng.integers(90, 150, (96, 96, 3), dtype=np.uint8)
        for category in (1, 2):
            side = int(rng.integers(20, 40))
            x, y = (int(value) for value in rng.integers(0, 96 - side, 2))
            if category == 1:
                cv2.rectangle(picture, (x, y), (x + side, y + side), (250, 250, 250), -1)
            else:
                cv2.circle(picture, (x + side // 2, y + side // 2), side // 2, (5, 5, 5), -1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": category,
                    "bbox": [x, y, side, side],
                    "area": side * side,
                    "iscrowd": 0,
                }
            )
        cv2.imwrite(str(root / "images" / split / f"{index}.png"), picture)
        images.append({"id": index, "file_name": f"{index}.png", "width": 96, "height": 96})
    categories = [{"id": 1, "name": "square"}, {"id": 2, "name": "disc"}]
    (root / "annotations" / f"instances_{split}.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )


def command(place: Path, study: str, trials: int, *more: str) -> list[str]:
    fixed = (
        "--target-latency 50ms --data shapes --image-size 96 --epochs 2 --fixed-trials none --space tiny.yaml"
    )
    return [
        *(sys.executable, "-m", "search.run", *fixed.split(), "--study", study, "--trials", str(trials)),
        *("--sampler", "random", "--json", *more),
    ]


def run(arguments: list[str], place: Path) -> dict[str, Any]:
    done = subprocess.run(arguments, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.timeout(600)
def test_search_then_search_on_then_export(place: Path) -> None:
    first = run(command(place, "whole", 1), place)
    assert first["counts"]["finished"] == 1 and first["counts"]["running"] == 0
    trial = next(one for one in first["trials"] if one["state"] == "finished")
    assert trial["feasible"] and trial["on_front"]
    assert set(trial["accuracy"]) == {"trained", "deployed"}
    assert trial["latency"]["origin"] == "measured, deployed artefact"
    assert trial["latency"]["low_ms"] <= trial["latency"]["median_ms"] <= trial["latency"]["high_ms"]
    assert all(Path(place, plot).stat().st_size > 0 for plot in first["plots"].values())

    second = run(command(place, "whole", 2, "--resume"), place)
    assert second["counts"]["finished"] == 2
    before = {one["candidate"]: one["accuracy"]["trained"] for one in first["trials"] if one["accuracy"]}
    after = {one["candidate"]: one["accuracy"]["trained"] for one in second["trials"] if one["accuracy"]}
    assert set(before) < set(after)

    export = [sys.executable, "-m", "search.export", "--study", "whole", "--best-under", "50ms"]
    exported = run([*export, "--nms", "--out", "out", "--json"], place)[0]  # type: ignore[index]
    assert exported["verification"]["passed"]
    assert (place / "out" / "model_with_nms.onnx").is_file()
    assert exported["verification"]["ap"] == pytest.approx(exported["verification"]["ap_stored"], abs=1e-3)
    names = {path.name for path in (place / "out").iterdir()}
    assert names >= {"candidate.json", "weights.safetensors", "model.onnx", "artefact.json", "README.md"}
    again = subprocess.run([*export, "--out", "out"], cwd=place, capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "not empty" in again.stderr

    (place / "shapes").rename(place / "moved")
    try:
        moved = run([*export, "--out", "out2", "--data", "moved", "--json"], place)[0]  # type: ignore[index]
    finally:
        (place / "moved").rename(place / "shapes")
    assert moved["verification"]["passed"]
    assert "--data moved" in (place / "out2" / "README.md").read_text()


@pytest.mark.timeout(600)
def test_interrupted_then_killed_it_still_finishes(place: Path) -> None:
    url = f"sqlite:///{place / 'runs' / 'search.db'}"
    for how in (signal.SIGINT, signal.SIGKILL):
        running = subprocess.Popen(
            command(place, "broken", 2),
            cwd=place,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        wait_until_training(url, "broken", running)
        os.kill(running.pid, how)
        _, errors = running.communicate(timeout=120)
        if how is signal.SIGINT:
            assert "Traceback" not in errors and running.returncode in (0, 1)
    with Repository.open(url) as repository:
        before = repository.trials(repository.get_study("broken").id)
    result = run(command(place, "broken", 2), place)
    assert result["counts"]["finished"] == 2 and result["counts"]["running"] == 0
    keys = [one["candidate"] for one in result["trials"]]
    assert len(keys) == len(set(keys))
    assert [trial.candidate_key for trial in before] == keys[: len(before)]


def wait_until_training(url: str, study: str, process: subprocess.Popen[str]) -> None:
    """Until a trial of the study is running and has its latency: it then trains or is about to."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, "the search ended before it could be interrupted"
        time.sleep(0.2)
        if not Path(url.removeprefix("sqlite:///")).exists():
            continue
        with Repository.open(url) as repository:
            for known in repository.list_studies():
                for trial in repository.trials(known.id) if known.name == study else []:
                    if trial.state is TrialState.RUNNING and trial.latency is not None:
                        return
    raise AssertionError("no trial began to train")
