"""A network small enough to train in seconds, and pictures of coloured rectangles to train it on."""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from evaluators.data import DetectionData, load_data
from search.stages import Bench
from storage import Repository
from yolov6space.candidate import Candidate, ModelSpec, StageSpec

COLOURS = ((40, 40, 220), (220, 60, 40))


@pytest.fixture
def tiny_model() -> ModelSpec:
    stage = StageSpec(block="rep", channels=8, repeats=1)
    return ModelSpec(stem_channels=8, backbone=(stage,) * 4, neck=(stage,) * 4, head_channels=(8, 8, 8))


@pytest.fixture
def tiny(tiny_model: ModelSpec) -> Candidate:
    return Candidate(model=tiny_model)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A small one on the CPU, with its folder in `tmp_path`."""
    return Bench(
        data="unused",
        hardware="cpu",
        image_size=64,
        batch=1,
        train_batch=4,
        seed=0,
        threads=1,
        folder=str(tmp_path),
        target_ms=5.0,
        device="cpu",
    )


@pytest.fixture(scope="session")
def rectangles(tmp_path_factory: pytest.TempPathFactory) -> DetectionData:
    """Ten pictures of 64 x 48 with one or two rectangles, red (class 0) or blue (class 1), on grey noise."""
    folder = tmp_path_factory.mktemp("rectangles")
    random = np.random.default_rng(0)
    (folder / "annotations").mkdir()
    for split, count in (("train", 10), ("val", 4)):
        images, annotations = [], []
        (folder / "images" / split).mkdir(parents=True)
        for image in range(1, count + 1):
            picture = random.integers(90, 140, (48, 64, 3), dtype=np.uint8)
            for _ in range(random.integers(1, 3)):
                width, height = (int(v) for v in random.integers(14, 26, 2))
                x, y, kind = (int(random.integers(n)) for n in (64 - width, 48 - height, 2))
                picture[y : y + height, x : x + width] = COLOURS[kind]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": kind + 1,
                        "bbox": [x, y, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                    }
                )
            name = f"{image}.png"
            cv2.imwrite(str(folder / "images" / split / name), picture)
            images.append({"id": image, "file_name": name, "width": 64, "height": 48})
        document = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}],
        }
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    return load_data(folder)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with Repository.open(f"sqlite:///{tmp_path / 'search.db'}") as opened:
        yield opened
