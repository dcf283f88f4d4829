import json
import multiprocessing

import cv2
import numpy as np
import pytest

from evaluators.data import load_data
from evaluators.data.bundled import DESCRIPTION, IMAGES, cache_folder, is_whole, make_bundled
from evaluators.data.digit_glyphs import draw_glyph, share_digits
from evaluators.data.digit_scenes import SIDE, make_scene
from evaluators.data.loading import load_folder
from foundation.errors import UserError

FEW = {"train": 6, "val": 4, "test": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_bundled(tmp_path_factory.mktemp("cache"), FEW)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_is_a_data_set_without_faults(folder):
    data = load_folder(folder)
    assert data.class_names == tuple("0123456789")
    assert data.warnings == ()
    assert [len(split) for split in data.splits.values()] == list(FEW.values())


def test_same_everywhere(folder, tmp_path):
    assert contents(make_bundled(tmp_path, FEW)) == contents(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "images/val/0001.jpg").unlink(),
        lambda folder: (folder / "images/train/0000.jpg").write_bytes(b"cut"),
        lambda folder: (folder / "annotations/instances_val.json").write_text("{}"),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").unlink(),
    ],
)
def test_damage_is_found_and_mended(folder, tmp_path, damage):
    mine = make_bundled(tmp_path, FEW)
    damage(mine)
    assert not is_whole(mine)
    assert contents(make_bundled(tmp_path, FEW)) == contents(folder)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_interrupted_making_leaves_nothing_behind(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("evaluators.data.digit_scenes.make_scene", stop)
    with pytest.raises(KeyboardInterrupt):
        make_bundled(tmp_path, FEW)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def _make(cache):
    return str(make_bundled(cache, FEW))


def test_several_processes_at_once(folder, tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        made = set(pool.map(_make, [tmp_path] * 3))
    assert len(made) == 1
    assert contents(tmp_path / folder.name) == contents(folder)


def test_no_digit_is_in_two_splits():
    shares = share_digits(1, (0.6, 0.2, 0.2))
    seen = [{image.tobytes() for image in images} for images, _ in shares]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    assert sum(len(labels) for _, labels in shares) == 1797
    for _, labels in shares:
        counts = np.bincount(labels, minlength=10)
        assert counts.min() >= 0.9 * counts.max()


def test_glyph_is_tight_and_of_the_asked_size():
    images, labels = share_digits(1, (1.0,))[0]
    rng = np.random.default_rng(0)
    for height in (14, 40, 120):
        sizes = [draw_glyph(images[i], int(labels[i]), height, rng).mask.shape[0] for i in range(40)]
        assert 0.75 * height < np.median(sizes) < 1.35 * height
    mask = draw_glyph(images[0], 0, 60, rng).mask > 0.5
    assert mask[0].any()
    assert mask[-1].any()
    assert mask[:, 0].any()
    assert mask[:, -1].any()


def test_boxes_enclose_what_was_painted(monkeypatch):
    """With plain light, no clutter and no cards, boxes are tight about what differs from the background."""
    scenes = "evaluators.data.digit_scenes"
    monkeypatch.setattr(f"{scenes}.background", lambda side, rng: np.full((side, side, 3), 128, np.uint8))
    monkeypatch.setattr(f"{scenes}._photograph", lambda scene, rng: scene)
    monkeypatch.setattr(f"{scenes}.CARD_SHARE", 0.0)
    images, labels = share_digits(1, (1.0,))[0]
    for seed in range(8):
        scene, boxes, _ = make_scene(images, labels, np.random.default_rng(seed))
        painted = (np.abs(scene - 128) > 20).any(axis=2)
        outside = painted.copy()
        for left, top, right, bottom in boxes:
            # Faint edges of a stroke may stick out of the extent of its solid part when others cover that.
            outside[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = False
            assert painted[[top, bottom - 1], left:right].any(axis=1).all()
            assert painted[top:bottom, [left, right - 1]].any(axis=0).all()
        assert not outside.any()
        assert len(boxes) >= 3


def test_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"


def test_unwritable_cache_says_how_to_choose_another(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="YOLOV6_SEARCH_CACHE"):
        make_bundled(tmp_path / "file" / "cache", FEW)


@pytest.mark.slow
def test_bundled_set_in_full(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path))
    data = load_data("bundled")
    assert data.description == DESCRIPTION
    assert "says nothing about COCO" in data.description
    assert {name: len(split) for name, split in data.splits.items()} == IMAGES
    for split in data.splits.values():
        boxes = np.concatenate(split.boxes)
        sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
        # Small, medium and large in COCO's sense all occur, most are of usable size.
        assert (sides < 32).mean() > 0.08
        assert (sides > 96).mean() > 0.05
        assert ((sides > 16) & (sides < 96)).mean() > 0.8
        assert np.bincount(np.concatenate(split.labels), minlength=10).min() > 0.05 * len(boxes)
    written = json.loads(data.split("val").annotations.read_text())
    assert written["info"]["description"] == DESCRIPTION
    image = cv2.imread(str(data.split("val").images[0].path))
    assert image.shape == (SIDE, SIDE, 3)
