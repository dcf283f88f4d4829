"""Boxes must go where the pixels go: every test finds the object again by its colour."""

import dataclasses

import numpy as np
import pytest

from search.training.data.augment import LARGE, SMALL, Augmentation, affine, flip, hsv, mixup, worth_keeping
from search.training.data.cache import Sample
from search.training.data.mosaic import mosaic

STILL = Augmentation(hue=0, saturation=0, value=0, scale=0, translate=0, flip=0, mosaic=0)


def picture(
    width: int, height: int, box: tuple[int, int, int, int], colour: int = 255, label: int = 0
) -> Sample:
    image = np.full((height, width, 3), 60, dtype=np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = colour
    return Sample(image, np.array([box], dtype=np.float32), np.array([label], dtype=np.int64))


def found(image: np.ndarray, low: int, high: int) -> np.ndarray:
    """Box around the pixels whose brightness is in between."""
    grey = image.mean(-1)
    rows, columns = np.nonzero((grey >= low) & (grey <= high))
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("seed", range(8))
def test_affine_moves_boxes_with_the_pixels(seed: int) -> None:
    sample = picture(96, 72, (30, 20, 66, 54))
    moved = affine(sample, 96, dataclasses.replace(SMALL, scale=0.4), np.random.default_rng(seed))
    assert moved.image.shape == (96, 96, 3)
    np.testing.assert_allclose(moved.boxes[0], found(moved.image, 158, 255), atol=1.0)


def test_affine_without_strength_only_centres() -> None:
    sample = picture(96, 72, (30, 20, 66, 54))
    moved = affine(sample, 96, STILL, np.random.default_rng(0))
    np.testing.assert_array_equal(moved.image[12:84], sample.image)
    np.testing.assert_array_equal(moved.boxes[0], [30, 32, 66, 66])
    assert (moved.image[:12] == 114).all() and (moved.image[84:] == 114).all()


@pytest.mark.parametrize("seed", range(8))
def test_mosaic_puts_every_box_on_its_pixels(seed: int) -> None:
    levels = (180, 200, 220, 240)
    samples = [picture(64, 48, (20, 16, 44, 36), level, label) for label, level in enumerate(levels)]
    made = mosaic(samples, 64, np.random.default_rng(seed))
    assert made.image.shape == (128, 128, 3)
    for box, label in zip(made.boxes, made.labels, strict=True):
        np.testing.assert_array_equal(box, found(made.image, levels[label] - 2, levels[label] + 2))
    for label in set(range(4)) - set(made.labels.tolist()):
        assert not (made.image == levels[label]).any()


def test_mosaic_needs_four() -> None:
    with pytest.raises(ValueError, match="not 3"):
        mosaic([picture(8, 8, (1, 1, 4, 4))] * 3, 8, np.random.default_rng(0))


@pytest.mark.parametrize(("left_right", "upside_down"), [(1, 0), (0, 1), (1, 1), (0, 0)])
def test_flips(left_right: float, upside_down: float) -> None:
    settings = dataclasses.replace(STILL, flip=left_right, flip_vertical=upside_down)
    turned = flip(picture(40, 30, (3, 5, 12, 20)), settings, np.random.default_rng(0))
    np.testing.assert_array_equal(turned.boxes[0], found(turned.image, 250, 255))
    assert (turned.boxes[0, 0] != 3) == bool(left_right) and (turned.boxes[0, 1] != 5) == bool(upside_down)


def test_flip_of_a_picture_without_objects() -> None:
    empty = Sample(np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    always = dataclasses.replace(STILL, flip=1, flip_vertical=1)
    assert flip(empty, always, np.random.default_rng(0)).boxes.shape == (0, 4)


def test_mixup_blends_and_keeps_all_objects() -> None:
    first, second = picture(32, 32, (2, 2, 10, 10), 200, 0), picture(32, 32, (16, 16, 30, 30), 100, 1)
    both = mixup(first, second, np.random.default_rng(0))
    assert both.labels.tolist() == [0, 1] and len(both.boxes) == 2
    assert 60 < both.image[5, 5, 0] < 200  # between the object of one and the ground of the other


def test_hsv_keeps_still_without_strength_and_stays_near_with_it() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert hsv(image, STILL, np.random.default_rng(0)) is image
    darker_or_lighter = [
        hsv(image, SMALL, np.random.default_rng(seed)).mean() / image.mean() for seed in range(20)
    ]
    assert min(darker_or_lighter) < 0.95 and max(darker_or_lighter) > 1.05
    assert all(0.4 < ratio < 1.8 for ratio in darker_or_lighter)


def test_boxes_mostly_cut_away_tiny_or_thin_are_dropped() -> None:
    whole = np.array([[0, 0, 20, 20], [-90, 0, 5, 20], [0, 0, 1.5, 9], [0, 0, 90, 3]], dtype=np.float32)
    cut = np.clip(whole, np.float32(0), np.float32(100))
    assert worth_keeping(whole, cut).tolist() == [True, False, False, False]
    assert worth_keeping(whole[:0], cut[:0]).shape == (0,)


def test_published_settings() -> None:
    """Release 0.2.0, configs of N, T, S and of M, L."""
    shared = {
        "hue": 0.015,
        "saturation": 0.7,
        "value": 0.4,
        "translate": 0.1,
        "flip": 0.5,
        "flip_vertical": 0.0,
    }
    assert dataclasses.asdict(SMALL) == {**shared, "scale": 0.5, "mosaic": 1.0, "mixup": 0.0}
    assert dataclasses.asdict(LARGE) == {**shared, "scale": 0.9, "mosaic": 1.0, "mixup": 0.1}
