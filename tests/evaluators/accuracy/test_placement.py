import numpy as np
import pytest

from evaluators.accuracy import PAPER, PLAIN, RECTANGULAR, Protocol
from evaluators.accuracy.placement import place, rectangle
from evaluators.data import ImageRecord

GREY = 114


def shaped(width, height):
    return ImageRecord(0, None, width, height)


def white(width, height):
    return np.full((height, width, 3), 255, dtype=np.uint8)


@pytest.mark.parametrize(
    ("width", "height", "load_size", "inside"),  # inside: left, top, width, height, worked out by hand
    [
        (500, 375, 634, (3, 82, 634, 475)),  # 375 * 634/500 = 475.5, cut off; (640 - 475) / 2 = 82.5
        (375, 500, 634, (82, 3, 475, 634)),
        (640, 480, 638, (1, 81, 638, 478)),  # 478.5; an odd border has its larger half at the bottom
        (640, 640, 640, (0, 0, 640, 640)),
        (320, 100, 628, (6, 222, 628, 196)),  # 196.25
        (1000, 1, 634, (3, 319, 634, 1)),
    ],
)
def test_square_input_as_in_the_release(width, height, load_size, inside):
    drawn, at = place(white(width, height), (640, 640), 640, Protocol(load_size=load_size))
    rows, columns = (np.flatnonzero((drawn != GREY).any(axis=(axis, 2))) for axis in (1, 0))
    found = (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    assert found == inside
    assert (at.left, at.top) == inside[:2]
    assert (at.scale_x, at.scale_y) == (inside[2] / width, inside[3] / height)


def test_load_size_is_in_proportion_to_the_input():
    assert [PAPER.load_pixels(size) for size in (640, 320, 1280)] == [634, 317, 1268]
    assert PLAIN.load_pixels(320) == 320


def test_fractional_border_and_one_scale_as_the_release_does_by_default():
    _, at = place(white(500, 375), (512, 672), 640, RECTANGULAR)
    assert (at.left, at.top) == (16, 16)
    _, odd = place(white(500, 333), (480, 672), 640, RECTANGULAR)  # 426.24 -> 426 rows
    assert (odd.left, odd.top) == (16, 27)
    _, half = place(white(500, 334), (480, 672), 640, RECTANGULAR)  # 427.52 -> 427 rows
    assert half.top == 26.5
    assert half.scale_x == half.scale_y == 427 / 334


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(640, 480)], (512, 672)),  # 0.75 * 20 + 0.5 = 15.5 -> 16 strides; 20.5 -> 21 strides
        ([(640, 640)], (672, 672)),
        ([(480, 640)], (672, 512)),
        ([(640, 480), (480, 640)], (672, 672)),
        ([(640, 320), (640, 480)], (512, 672)),  # the tallest decides
    ],
)
def test_rectangle_of_a_batch(sizes, expected):
    assert rectangle([shaped(*size) for size in sizes], 640, extra_border=0.5) == expected


@pytest.mark.parametrize("protocol", [PAPER, PLAIN, Protocol(load_size=600)])
def test_boxes_come_back(protocol):
    rng = np.random.default_rng(1)
    for width, height in [(640, 480), (33, 100), (1, 500), (17, 9), (50, 50)]:
        _, at = place(white(width, height), (320, 320), 320, protocol)
        boxes = np.sort(rng.uniform(0, 1, (20, 2, 2)), axis=1).reshape(20, 4) * [width, height, width, height]
        drawn = boxes * ([at.scale_x, at.scale_y] * 2)
        shown = drawn + np.array([at.left, at.top] * 2)
        np.testing.assert_allclose(at.to_image(shown), boxes, atol=1e-3)
    outside = at.to_image(np.array([[-500.0, -500, 900, 900]]))
    np.testing.assert_array_equal(outside, [[0, 0, 50, 50]])
