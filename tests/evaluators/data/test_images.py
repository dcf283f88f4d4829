import cv2
import numpy as np
import pytest
from PIL import Image

from evaluators.data import from_letterbox, letterbox, load_data, read_image, to_network
from foundation.errors import UserError
from tests.evaluators.data.making import edit, write_data


def gradient(width, height):
    x = np.linspace(0, 255, width)[None, :, None]
    y = np.linspace(0, 255, height)[:, None, None]
    return np.broadcast_to((x + y) / 2, (height, width, 3)).astype(np.uint8)


def test_grey_image_gets_three_channels(tmp_path):
    grey = gradient(20, 10)[:, :, 0]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    image = read_image(tmp_path / "grey.png")
    assert image.shape == (10, 20, 3)
    np.testing.assert_array_equal(image, np.stack([grey] * 3, axis=2))


def test_sixteen_bit_and_transparent_images_become_eight_bit_bgr(tmp_path):
    Image.fromarray(np.full((4, 5, 4), 77, dtype=np.uint8), "RGBA").save(tmp_path / "clear.png")
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((4, 5), 40_000, dtype=np.uint16))
    for name in ("clear.png", "deep.png"):
        image = read_image(tmp_path / name)
        assert (image.shape, image.dtype) == ((4, 5, 3), np.uint8)


def test_exif_rotation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gradient(40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (20, 40, 3)


def test_annotations_of_the_turned_image_are_refused(tmp_path):
    folder = write_data(tmp_path / "d")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gradient(64, 48)).save(folder / "images/val/val_0.png", exif=exif)
    edit(
        folder / "annotations/instances_val.json",
        lambda document: document["images"][0].update(width=48, height=64),
    )
    with pytest.raises(UserError, match="as EXIF turns it"):
        load_data(folder)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.95])
def test_truncated_image(tmp_path, name, kept):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)
    assert read_image(path).shape == noise.shape
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UserError, match=name):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"hello"])
def test_no_image(tmp_path, content):
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(UserError, match="not a readable image"):
        read_image(tmp_path / "x.jpg")


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_image(tmp_path / "x.jpg")


@pytest.mark.parametrize(("width", "height"), [(640, 480), (33, 100), (64, 64), (1, 500), (17, 9)])
def test_letterbox_geometry(width, height):
    image = np.full((height, width, 3), 200, dtype=np.uint8)
    square, scale, (left, top) = letterbox(image, 64)
    assert square.shape == (64, 64, 3)
    inside = (square != 114).any(axis=2)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert (columns[0], rows[0]) == (left, top)
    assert abs(len(columns) - width * scale) <= 1
    assert abs(len(rows) - height * scale) <= 1
    assert max(len(rows), len(columns)) == 64
    # The border is even on both sides.
    assert abs((64 - len(columns)) - 2 * left) <= 1
    assert abs((64 - len(rows)) - 2 * top) <= 1


def test_letterbox_leaves_a_fitting_image_alone():
    image = gradient(64, 64)
    square, scale, pad = letterbox(image, 64)
    np.testing.assert_array_equal(square, image)
    assert (scale, pad) == (1.0, (0, 0))


def test_shrinking_averages():
    checks = np.indices((128, 128)).sum(axis=0) % 2 * 200
    square, _, _ = letterbox(np.stack([checks] * 3, axis=2).astype(np.uint8), 32)
    np.testing.assert_array_equal(square, 100)


def test_boxes_return_from_the_letterbox():
    rng = np.random.default_rng(3)
    for width, height in [(640, 480), (100, 333), (50, 50)]:
        _, scale, (left, top) = letterbox(np.zeros((height, width, 3), dtype=np.uint8), 320)
        corners = np.sort(rng.uniform(0, 1, (20, 2, 2)), axis=1) * [width, height]
        boxes = corners.reshape(20, 4)
        squared = boxes * scale + [left, top, left, top]
        np.testing.assert_allclose(
            from_letterbox(squared, scale, (left, top), width, height), boxes, atol=1e-3
        )
    outside = from_letterbox(np.array([[-50.0, -50, 900, 900]]), scale, (left, top), width, height)
    np.testing.assert_array_equal(outside, [[0, 0, width, height]])


def test_to_network_is_rgb_planes_in_unit_range():
    blue = np.zeros((2, 3, 3), dtype=np.uint8)
    blue[:, :, 0] = 255
    planes = to_network(blue)
    assert (planes.shape, planes.dtype) == ((3, 2, 3), np.float32)
    np.testing.assert_array_equal(planes[2], 1.0)
    np.testing.assert_array_equal(planes[:2], 0.0)
