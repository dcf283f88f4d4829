"""YOLO and Pascal VOC become COCO without losing or inventing anything."""

import json
import shutil
from xml.sax.saxutils import escape

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from evaluators.data import load_data
from evaluators.data.command import data_command
from foundation.errors import UserError
from tests.evaluators.data.making import annotation, write_data, write_split


def convert(*arguments):
    return CliRunner().invoke(data_command, ["convert", *map(str, arguments)])


def refusal(*arguments):
    error = convert(*arguments).exception
    assert isinstance(error, UserError), error
    assert "\n" not in str(error)
    return str(error)


@pytest.fixture
def original(tmp_path):
    folder = write_data(tmp_path / "coco")
    boxes = [
        annotation(1, 1, [5, 6, 20, 10]),
        annotation(2, 1, [0, 0, 64, 48], category=7),
        annotation(3, 3, [31.5, 20.25, 1, 1], category=7),  # one pixel
    ]
    write_split(folder, "train", boxes, count=3, seed=5)
    return folder


def as_yolo(original, folder):
    data = load_data(original)
    for split, part in data.splits.items():
        images, labels = folder / "images" / split, folder / "labels" / split
        shutil.copytree(original / "images" / split, images)
        labels.mkdir(parents=True)
        for image, boxes, kinds in zip(part.images, part.boxes, part.labels, strict=True):
            centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / [image.width, image.height]
            extent = (boxes[:, 2:] - boxes[:, :2]) / [image.width, image.height]
            lines = [
                f"{kind} " + " ".join(map(str, [*c, *e]))
                for kind, c, e in zip(kinds, centre, extent, strict=True)
            ]
            if lines:
                (labels / f"{image.path.stem}.txt").write_text("\n".join(lines) + "\n")
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return folder


def xml(image, objects, size=None):
    width, height = size or (image.width, image.height)
    parts = "".join(
        f"<object><name>{escape(name)}</name><difficult>0</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in objects
    )
    return (
        f"<annotation><filename>{image.path.name}</filename><size><width>{width}</width>"
        f"<height>{height}</height><depth>3</depth></size>{parts}</annotation>"
    )


def as_voc(original, folder, devkit):
    data = load_data(original)
    for split, part in data.splits.items():
        images = folder / ("JPEGImages" if devkit else split)
        texts = folder / ("Annotations" if devkit else split)
        shutil.copytree(original / "images" / split, images, dirs_exist_ok=True)
        texts.mkdir(parents=True, exist_ok=True)
        for image, boxes, kinds in zip(part.images, part.boxes, part.labels, strict=True):
            objects = [
                (data.class_names[kind], *box) for kind, box in zip(kinds, boxes.tolist(), strict=True)
            ]
            (texts / f"{image.path.stem}.xml").write_text(xml(image, objects))
        if devkit:
            names = folder / "ImageSets" / "Main" / f"{split}.txt"
            names.parent.mkdir(parents=True, exist_ok=True)
            names.write_text("\n".join(image.path.stem for image in part.images))
    return folder


def assert_same(found, expected):
    assert found.class_names == expected.class_names
    assert list(found.splits) == list(expected.splits)
    for split, part in expected.splits.items():
        other = found.split(split)
        assert [image.path.name for image in other.images] == [image.path.name for image in part.images]
        for mine, theirs in zip(other.boxes, part.boxes, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-4)
        for mine, theirs in zip(other.labels, part.labels, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_yolo_becomes_the_same_data(original, tmp_path):
    source = as_yolo(original, tmp_path / "yolo")
    result = convert("--from", "yolo", "--source", source, "--out", tmp_path / "out", "--json")
    told = json.loads(result.stdout)
    assert told["splits"] == {"train": {"images": 3, "boxes": 3}, "val": {"images": 2, "boxes": 2}}
    assert told["notes"] == ["train: 1 images have no label file and count as images without objects"]
    assert_same(load_data(told["data"]), load_data(original))


@pytest.mark.parametrize("devkit", [True, False])
def test_voc_becomes_the_same_data(original, tmp_path, devkit):
    source = as_voc(original, tmp_path / "voc", devkit)
    assert convert("--from", "voc", "--source", source, "--out", tmp_path / "out").exit_code == 0
    assert_same(load_data(tmp_path / "out" / "data.yaml"), load_data(original))


def test_the_converted_folder_may_move_with_its_images(original, tmp_path):
    as_yolo(original, tmp_path / "both" / "yolo")
    convert("--from", "yolo", "--source", tmp_path / "both/yolo", "--out", tmp_path / "both/out")
    (tmp_path / "both").rename(tmp_path / "moved")
    assert_same(load_data(tmp_path / "moved/out/data.yaml"), load_data(original))


def test_yolo_names_by_number_and_lists_of_images(original, tmp_path):
    source = as_yolo(original, tmp_path / "yolo")
    (source / "val.txt").write_text("./images/val/val_0.png\n\n./images/val/val_1.png\n")
    (source / "data.yaml").write_text(
        "path: .\ntrain: [images/train]\nval: val.txt\nnc: 2\nnames: {1: dog, 0: cat}\n"
    )
    convert("--from", "yolo", "--source", source / "data.yaml", "--out", tmp_path / "out")
    assert_same(load_data(tmp_path / "out" / "data.yaml"), load_data(original))


def test_label_files_without_images_are_told(original, tmp_path):
    source = as_yolo(original, tmp_path / "yolo")
    (source / "images/val/val_0.png").unlink()
    result = convert("--from", "yolo", "--source", source, "--out", tmp_path / "out")
    assert "val: 1 label files have no image (val_0.txt)" in result.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0.5 0.5 0.1\n", "val_0.txt: line 1: no box: 4 values"),
        ("0 0.5 0.5 0.1 0.1\n0 .1 .1 .2 .1 .2 .2 .1 .2\n", "line 2: a polygon: 9 values"),
        ("0 0.5 0.5 0.1 0.1 0.9\n", "line 1: no box: 6 values"),
        ("0 0.5 x 0.1 0.1\n", "line 1: no box"),
        ("0 0.5 0.5 -0.1 0.1\n", "line 1: no box"),
        ("0 nan 0.5 0.1 0.1\n", "line 1: no box"),
        ("\n2 0.5 0.5 0.1 0.1\n", "line 2: no box (class 2 is not one of 0..1)"),
        ("cat 0.5 0.5 0.1 0.1\n", "line 1: no box"),
        ("-1 0.5 0.5 0.1 0.1\nx\n", "2 problems, the first: "),
    ],
)
def test_malformed_yolo_lines(original, tmp_path, text, expected):
    source = as_yolo(original, tmp_path / "yolo")
    (source / "labels/val/val_0.txt").write_text(text)
    message = refusal("--from", "yolo", "--source", source, "--out", tmp_path / "out")
    assert expected in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- 1", "as a mapping"),
        ("train: images/train", "`names` must list the classes"),
        ("train: images/train\nnames: {1: a}", "`names` must list the classes"),
        ("train: images/train\nnames: [a, a]", "has a class twice"),
        ("train: images/nowhere\nnames: [cat, dog]", "no such folder of images"),
        ("train: labels/train\nnames: [cat, dog]", "the train split has no images"),
        ("names: [cat, dog]", "names no split"),
    ],
)
def test_broken_yolo_yaml(original, tmp_path, text, expected):
    source = as_yolo(original, tmp_path / "yolo")
    (source / "data.yaml").write_text(text)
    assert expected in refusal("--from", "yolo", "--source", source, "--out", tmp_path / "out")


def test_yolo_images_turned_by_exif_or_unreadable(original, tmp_path):
    source = as_yolo(original, tmp_path / "yolo")
    (source / "images/val/val_1.png").write_bytes(b"no image")
    message = refusal("--from", "yolo", "--source", source, "--out", tmp_path / "out")
    assert "val_1.png: not a readable image" in message
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(source / "images/val/val_1.png", exif=exif)
    assert "is turned by EXIF" in refusal("--from", "yolo", "--source", source, "--out", tmp_path / "out")


def test_grey_images_convert(original, tmp_path):
    source = as_yolo(original, tmp_path / "yolo")
    assert cv2.imwrite(str(source / "images/val/val_1.png"), np.zeros((48, 64), np.uint8))
    assert convert("--from", "yolo", "--source", source, "--out", tmp_path / "out").exit_code == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text[:-20], "not a Pascal VOC annotation"),
        (lambda text: text.replace("<xmin>", "<xmin>a"), "not a Pascal VOC annotation"),
        (lambda text: text.replace("name>", "called>"), "not a Pascal VOC annotation"),
        (
            lambda text: text.replace("<width>64", "<width>65"),
            "says the image is 65x48 pixels, but it is 64x48",
        ),
        (lambda text: text.replace("<width>64", "<width>0"), "should be positive"),
        (lambda text: text.replace("<xmax>25", "<xmax>2"), "`xmax` must be greater"),
    ],
)
def test_malformed_voc_files(original, tmp_path, change, expected):
    source = as_voc(original, tmp_path / "voc", devkit=True)
    path = source / "Annotations/val_0.xml"
    path.write_text(change(path.read_text()))
    message = refusal("--from", "voc", "--source", source, "--out", tmp_path / "out")
    assert "val_0.xml" in message
    assert expected in message


def test_missing_voc_parts(original, tmp_path):
    source = as_voc(original, tmp_path / "voc", devkit=True)
    (source / "Annotations/val_0.xml").unlink()
    (source / "JPEGImages/val_1.png").unlink()
    message = refusal("--from", "voc", "--source", source, "--out", tmp_path / "out")
    assert "2 problems, the first: " in message
    assert "val_0.xml: is missing" in message
    (source / "ImageSets/Main/val.txt").write_text("")
    assert "the val split has no images" in refusal(
        "--from", "voc", "--source", source, "--out", tmp_path / "o"
    )
    (tmp_path / "empty").mkdir()
    assert "neither ImageSets" in refusal(
        "--from", "voc", "--source", tmp_path / "empty", "--out", tmp_path / "o"
    )


def test_nothing_is_overwritten(original, tmp_path):
    source = as_yolo(original, tmp_path / "yolo")
    assert "not an empty folder" in refusal("--from", "yolo", "--source", source, "--out", original)


def test_unconverted_data_say_how_to_convert_them(original, tmp_path):
    yolo, voc = as_yolo(original, tmp_path / "yolo"), as_voc(original, tmp_path / "voc", devkit=True)
    for source, kind in ((yolo, "yolo"), (yolo / "data.yaml", "yolo"), (voc, "voc")):
        with pytest.raises(UserError, match=f"data convert --from {kind} --source"):
            load_data(source)
