import numpy as np

from evaluators.accuracy.stratified import stratified_order
from evaluators.data.detection_data import ImageRecord, Split


def split_of(labels):
    images = tuple(ImageRecord(i, None, 10, 10) for i in range(len(labels)))
    arrays = tuple(np.array(one, dtype=np.int64) for one in labels)
    boxes = tuple(np.zeros((len(one), 4), dtype=np.float32) for one in labels)
    crowd = tuple(np.zeros(len(one), dtype=bool) for one in labels)
    return Split("val", images, boxes, arrays, crowd, None, (1, 2, 3))


def test_every_beginning_resembles_the_whole():
    labels = [[0]] * 120 + [[0, 1]] * 40 + [[2]] * 8 + [[]] * 32
    split = split_of(labels)
    order = stratified_order(split)
    assert sorted(order) == list(range(200))
    for count in (25, 50, 100, 150):
        head = [labels[i] for i in order[:count]]
        for kind, total in (([0], 120), ([0, 1], 40), ([2], 8), ([], 32)):
            assert abs(head.count(kind) - total * count / 200) <= 2


def test_deterministic_but_not_the_order_of_the_file():
    split = split_of([[0]] * 50)
    assert stratified_order(split) == stratified_order(split)
    assert stratified_order(split) != list(range(50))
    assert stratified_order(split, seed=1) != stratified_order(split, seed=0)


def test_rarest_class_of_an_image_decides():
    split = split_of([[0, 0, 0]] * 9 + [[0, 2]])
    assert len(stratified_order(split)) == 10


def test_empty_split():
    assert stratified_order(split_of([])) == []
