import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from evaluators.data import load_data
from evaluators.data.command import data_command
from evaluators.data.contact_sheet import contact_sheet, write_sheet
from foundation.errors import UserError
from tests.evaluators.data.making import annotation, write_data, write_split


def check(*arguments):
    return CliRunner().invoke(data_command, ["check", *map(str, arguments)], catch_exceptions=True)


@pytest.fixture
def folder(tmp_path):
    boxes = [
        annotation(1, 1, [0, 0, 10, 10]),
        annotation(2, 1, [0, 0, 40, 30], category=7),
        annotation(3, 3, [0, 0, 110, 100]),
        annotation(4, 3, [0, 0, 120, 110], iscrowd=1),
        annotation(5, 3, [0, 0, 0, 110]),
    ]
    data = write_data(tmp_path / "pets")
    write_split(data, "train", boxes, count=4, size=(128, 128))
    return data


def test_counts(folder):
    result = json.loads(check("--data", folder, "--json").stdout)
    assert result["splits"]["train"] == {
        "images": 4,
        "images_without_boxes": 2,
        "image_sides": [128, 128, 128],
        "image_shapes": 1,
        "boxes": 3,
        "boxes_per_image": [0, 0.5, 2],
        "crowd_regions": 1,
        "by_size": {"small": 1, "medium": 1, "large": 1},
        "size_histogram": {
            "0-3": 0,
            "4-7": 0,
            "8-15": 1,
            "16-31": 0,
            "32-63": 1,
            "64-127": 1,
            "128-255": 0,
            "256-511": 0,
            "512+": 0,
        },
        # Sides 10, 34.6 and 104.9 of 128; between them the quartiles are interpolated.
        "share_of_image": [0.1744, 0.2706, 0.545],
        "by_class": {"cat": 2, "dog": 1},
        "images_by_class": {"cat": 2, "dog": 1},
    }
    assert result["images_decoded"]
    assert result["warnings"] == [
        "train: dropped 1 box of zero area (image train_2.png, annotation id 5)",
        "val: no boxes of 1 classes (dog)",
        "train: fewer than 10 boxes of 2 classes (cat 2, dog 1)",
    ]


def test_text_names_problems_and_their_absence(folder):
    text = check("--data", folder).stdout
    assert "warning: train: dropped 1 box" in text
    assert "  3 boxes, 0 to 2 per image (median 0.5); 1 crowd regions" in text
    assert "      8-15 px ############################## 1" in text
    boxes = [annotation(i, 1 + i % 2, [2 + i, 2, 9, 9], category=(3, 7)[i % 2]) for i in range(30)]
    write_split(folder, "val", boxes)
    assert "no warnings" in check("--data", folder, "--split", "val").stdout


def warnings(*arguments):
    return json.loads(check(*arguments, "--json").stdout)["warnings"]


def test_damaged_images_are_counted_and_the_first_is_named(folder):
    for index in (1, 2):
        path = folder / f"images/train/train_{index}.png"
        jpeg = cv2.imencode(".jpg", cv2.imread(str(path)))[1].tobytes()
        path.write_bytes(jpeg[:-400])  # the header stays whole
    told = warnings("--data", folder)
    assert any("train: 2 images cannot be used" in line and "train_1.png" in line for line in told)
    assert not any("cannot be used" in line for line in warnings("--data", folder, "--quick"))


def test_images_in_two_splits_and_twice_in_one_are_found(folder):
    copy = cv2.imread(str(folder / "images/train/train_0.png"))
    assert cv2.imwrite(str(folder / "images/train/train_3.png"), copy)
    write_split(folder, "val", size=(128, 128), seed=9)
    assert cv2.imwrite(str(folder / "images/val/val_1.png"), copy)
    told = " ".join(warnings("--data", folder))
    assert "1 images are in more than one split, which flatters AP (first: train/train_0.png" in told
    assert "val/val_1.png" in told
    assert cv2.imwrite(str(folder / "images/val/val_1.png"), 255 - copy)
    assert "train: 1 images occur more than once (first: train_0.png, train_3.png)" in warnings(
        "--data", folder
    )


def test_copies_within_splits_are_counted_split_by_split(folder):
    for split in ("train", "val"):
        image = cv2.imread(str(folder / f"images/{split}/{split}_0.png"))
        assert cv2.imwrite(str(folder / f"images/{split}/{split}_1.png"), image)
    told = warnings("--data", folder)
    assert "train: 1 images occur more than once (first: train_0.png, train_1.png)" in told
    assert "val: 1 images occur more than once (first: val_0.png, val_1.png)" in told


def test_a_truncated_image_is_a_grey_tile_and_a_finding(folder, tmp_path):
    path = folder / "images/train/train_0.png"
    path.write_bytes(path.read_bytes()[:-20])
    result = check("--data", folder, "--sheet", tmp_path / "sheet.png", "--json")
    assert result.exit_code == 0, result.output
    assert any("1 images cannot be used" in line for line in json.loads(result.stdout)["warnings"])
    tile = cv2.imread(str(tmp_path / "sheet.png"))[:240, :240]
    assert (tile[:60] == 128).all()
    assert (tile == 255).any()


def test_the_name_of_the_sheet_is_looked_at_first(folder, monkeypatch):
    monkeypatch.setattr("evaluators.data.loading.load_data", None)
    assert ".jpg or .png" in str(check("--data", folder, "--sheet", "sheet.gif").exception)


def test_twin_boxes_and_tiny_boxes(folder):
    boxes = [annotation(i, 1, [5, 5, 20, 20]) for i in (1, 2)] + [annotation(3, 2, [1, 1, 1, 1])]
    write_split(folder, "train", boxes, size=(128, 128))
    told = warnings("--data", folder)
    assert "train: 1 boxes repeat another of the same class and place (first: image train_0.png)" in told
    assert any("33 % of the boxes have a side below 8 pixels at an input of 640" in line for line in told)
    larger = warnings("--data", folder, "--image-size", "1280")
    assert not any("have a side below" in line for line in larger)


def test_unreadable_source_is_one_line(tmp_path):
    assert isinstance(check("--data", tmp_path / "nowhere").exception, UserError)


def test_sheet_shows_images_with_boxes(folder, tmp_path):
    path = tmp_path / "made" / "sheet.png"
    assert check("--data", folder, "--sheet", path).exit_code == 0
    sheet = cv2.imread(str(path))
    assert sheet.shape == (720, 960, 3)
    # Four images fill the first row, the rest stays white.
    assert (sheet[240:] == 255).all()
    assert not (sheet[:240, 720:] == 255).all()


def test_boxes_are_drawn_where_they_are(folder):
    for image in load_data(folder).split("train").images:
        assert cv2.imwrite(str(image.path), np.full((128, 128, 3), 10, dtype=np.uint8))
    data = load_data(folder)
    sheet = contact_sheet(data.split("train"), data.class_names, columns=4, rows=1, tile=256)
    drawn = (sheet[:, 512:768] != 10).any(axis=2)  # third image: a box of 110 x 100, drawn twice as large
    rows, columns = np.flatnonzero(drawn[:, 100]), np.flatnonzero(drawn[100])
    assert 200 in rows
    assert 220 in columns
    assert not (sheet[:, 256:512] != 10).any()  # the second has none


def test_sheet_needs_an_image_name(folder, tmp_path):
    data = load_data(folder)
    sheet = contact_sheet(data.split("val"), data.class_names)
    with pytest.raises(UserError, match=r"\.jpg or \.png"):
        write_sheet(sheet, tmp_path / "sheet.bmp2")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_sheet(sheet, tmp_path / "file" / "sheet.png")
