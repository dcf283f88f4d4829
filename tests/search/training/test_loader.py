"""Batches: reproducible, the same for any number of threads, and every image once per pass."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.data import DetectionData
from search.training.data.augment import LARGE, Augmentation
from search.training.data.cache import ImageCache
from search.training.data.loader import Batch, Loader, to_batch
from search.training.data.sampler import Sampler
from search.training.options import TrainingOptions
from search.training.trainer import process_settings


def make(
    data: DetectionData, settings: Augmentation = LARGE, seed: int = 0, limit: int | None = None
) -> Loader:
    split = data.split("train")
    return Loader(
        ImageCache(split, 64, limit),
        Sampler(len(split), seed),
        batch=4,
        image_size=64,
        augmentation=lambda step: settings,
    )


def same(first: Batch, second: Batch) -> bool:
    pairs = (
        (first.images, second.images),
        (first.truth.boxes, second.truth.boxes),
        (first.truth.labels, second.truth.labels),
        (first.truth.image, second.truth.image),
    )
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_batch_is_what_stacking_and_transposing_gives() -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (6, 8, 3), dtype=np.uint8) for _ in range(2)]
    images[1] = images[1][:, ::-1]  # a mirrored view, as flips leave it
    expected = np.stack(images)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(to_batch(images), expected)


def test_an_image_decoded_twice_at_once_is_counted_once(rectangles: DetectionData) -> None:
    split = rectangles.split("train")
    cache = ImageCache(split, 64, limit_mib=1)  # room for all ten
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cache.__getitem__, [index for index in range(10) for _ in range(8)]))
    assert cache.hits + cache.misses == 80
    assert cache.used_bytes == 10 * 48 * 64 * 3


def test_every_pass_shows_every_image_once_in_another_order() -> None:
    sampler = Sampler(7, seed=3)
    passes = [[sampler.index(epoch * 7 + i) for i in range(7)] for epoch in range(3)]
    assert all(sorted(each) == list(range(7)) for each in passes)
    assert passes[0] != passes[1] != passes[2]
    assert [Sampler(7, seed=3).index(i) for i in range(7)] == passes[0]
    assert [Sampler(7, seed=4).index(i) for i in range(7)] != passes[0]


def test_batches_are_pixels_in_0_1_and_boxes_in_the_picture(rectangles: DetectionData) -> None:
    batch = make(rectangles).batch(0)
    assert batch.images.shape == (4, 3, 64, 64) and batch.images.dtype == torch.float32
    assert batch.images.min() >= 0 and 0.5 < batch.images.max() <= 1
    boxes = batch.truth.boxes
    assert len(boxes) and ((boxes >= 0) & (boxes <= 64)).all() and (boxes[:, 2:] > boxes[:, :2]).all()
    assert (batch.truth.image.diff() >= 0).all() and batch.truth.image.max() < 4


def test_colours_arrive_as_rgb(rectangles: DetectionData) -> None:
    """Class 0 is red: inside its boxes the first channel is the brightest."""
    still = Augmentation(hue=0, saturation=0, value=0, scale=0, translate=0, flip=0, mosaic=0)
    loader, seen = make(rectangles, still), set()
    for batch in map(loader.batch, range(3)):
        truth = batch.truth
        alone = truth.image.bincount(minlength=4)[truth.image] == 1  # nothing lies over it
        for box, label, image in zip(
            truth.boxes[alone], truth.labels[alone], truth.image[alone], strict=True
        ):
            x1, y1, x2, y2 = box.round().int().tolist()
            assert batch.images[image, :, y1:y2, x1:x2].mean((1, 2)).argmax() == (0 if label == 0 else 2)
            seen.add(int(label))
    assert seen == {0, 1}


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(rectangles: DetectionData, workers: int) -> None:
    loader, fresh = make(rectangles), make(rectangles)
    with loader.batches(2, 7, workers) as batches:
        made = list(batches)
    assert len(made) == 5
    assert all(same(batch, fresh.batch(step)) for step, batch in enumerate(made, start=2))


def test_making_a_batch_starts_no_threads_of_torch(rectangles: DetectionData) -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    def threads_after_a_batch() -> tuple[int, int]:
        before = threads()
        make(rectangles).batch(0)
        return before, threads()

    with process_settings(TrainingOptions(epochs=1, image_size=64, threads=2)), ThreadPoolExecutor(1) as pool:
        before, after = pool.submit(threads_after_a_batch).result()
    assert after == before


def test_another_seed_gives_other_pictures(rectangles: DetectionData) -> None:
    assert not same(make(rectangles).batch(0), make(rectangles, seed=1).batch(0))


def test_the_cache_keeps_to_its_limit_and_serves_the_same(rectangles: DetectionData) -> None:
    split = rectangles.split("train")
    roomy, none = ImageCache(split, 64, 100), ImageCache(split, 64, 0)
    for _ in range(2):
        for index in range(len(split)):
            np.testing.assert_array_equal(roomy[index].image, none[index].image)
    assert (roomy.hits, roomy.misses) == (10, 10)
    assert (none.hits, none.misses) == (0, 20)


def test_images_and_boxes_are_scaled_together(rectangles: DetectionData) -> None:
    split = rectangles.split("train")
    sample = ImageCache(split, 32)[0]
    assert sample.image.shape == (24, 32, 3)
    np.testing.assert_allclose(sample.boxes, split.boxes[0] / 2)


def test_a_broken_worker_is_heard_of(rectangles: DetectionData) -> None:
    def broken(step: int) -> Augmentation:
        raise RuntimeError("worker died")

    split = rectangles.split("train")
    loader = Loader(ImageCache(split, 64), Sampler(10, 0), batch=2, image_size=64, augmentation=broken)
    with pytest.raises(RuntimeError, match="worker died"), loader.batches(0, 3, 1) as batches:
        next(batches)
