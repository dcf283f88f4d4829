import numpy as np

from evaluators.accuracy.columns import Columns
from evaluators.accuracy.detections import ImageDetections


def found(identifier, count):
    rng = np.random.default_rng(identifier)
    return ImageDetections(
        identifier,
        (100 * rng.random((count, 4))).astype(np.float32),
        rng.choice(np.array([0.2, 0.4, 0.9], dtype=np.float32), count),
        rng.integers(0, 3, count),
    )


def columns_equal(a, b):
    for name in Columns.__slots__:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_of_images_are_the_numbers_of_their_results():
    images, ids = [found(7, 5), found(3, 0), found(4, 9)], [11, 5, 8]
    results = [one for image in images for one in image.to_coco(ids)]
    columns_equal(Columns.of_images(images, ids), Columns.of_results(results, {3, 4, 7}, {5, 8, 11}))
    assert len(Columns.of_images([], ids)) == len(Columns.of_images([found(3, 0)], ids)) == 0


def test_results_of_unknown_images_and_categories_are_left_out():
    known = {"image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "score": 0.5}
    strangers = [known | {"image_id": 2}, known | {"category_id": 6}, known | {"category_id": "5"}]
    [kept] = Columns.of_results([*strangers, known], {1}, {5}).annotations()
    assert kept == {**known, "id": 1, "area": 12.0, "iscrowd": 0}


def test_best_of_every_image_and_class_with_ties_in_list_order():
    columns = Columns.of_images([found(7, 200), found(3, 150)], [11, 5, 8])
    best = columns.best(10)
    for image in (3, 7):
        for category in (5, 8, 11):
            rows = np.flatnonzero((columns.images == image) & (columns.categories == category))
            wanted = sorted(rows, key=lambda row: -columns.scores[row])[:10]  # stable
            mine = best.take((best.images == image) & (best.categories == category))
            columns_equal(mine, columns.take(np.array(wanted)))
    assert len(best) == 60
