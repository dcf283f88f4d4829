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
        "boxes": 3,
        "crowd_regions": 1,
        "by_size": {"small": 1, "medium": 1, "large": 1},
        "by_class": {"cat": 2, "dog": 1},
    }
    assert result["warnings"] == ["train: dropped 1 box of zero area (image train_2.png, annotation id 5)"]


def test_text_names_problems_and_their_absence(folder):
    assert "warning: train: dropped 1 box" in check("--data", folder).stdout
    assert "no warnings" in check("--data", folder, "--split", "val").stdout


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
