import json
import shutil

import numpy as np
import pytest

from evaluators.data import load_data
from evaluators.data.foreign import image_size
from foundation.errors import UserError
from tests.evaluators.data.making import annotation, edit, write_data, write_split


@pytest.fixture
def folder(tmp_path):
    return write_data(tmp_path / "pets")


def refusal(source, **options):
    with pytest.raises(UserError) as caught:
        load_data(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_values_of_a_plain_folder(folder):
    write_split(
        folder,
        "train",
        [
            annotation(1, 2, [1, 2, 3, 4], category=7),
            annotation(2, 1, [10, 10, 20, 30]),
            annotation(3, 2, [0, 0, 64, 48], iscrowd=1),
        ],
    )
    data = load_data(folder)
    train = data.split("train")
    assert data.name == "pets"
    assert data.class_names == ("cat", "dog")
    assert data.warnings == ()
    assert train.category_ids == (3, 7)
    assert [image.path.name for image in train.images] == ["train_0.png", "train_1.png"]
    np.testing.assert_array_equal(train.boxes[0], [[10, 10, 30, 40]])
    np.testing.assert_array_equal(train.boxes[1], [[1, 2, 4, 6], [0, 0, 64, 48]])
    assert [labels.tolist() for labels in train.labels] == [[0], [1, 0]]
    assert [crowd.tolist() for crowd in train.crowd] == [[False], [False, True]]
    assert (train.boxes[0].dtype, train.labels[0].dtype) == (np.float32, np.int64)


def test_image_without_boxes_keeps_its_place(folder):
    write_split(folder, "train", [annotation(1, 3, [1, 2, 3, 4])], count=4)
    boxes = load_data(folder).split("train").boxes
    assert [box.shape for box in boxes] == [(0, 4), (0, 4), (1, 4), (0, 4)]


def test_unusable_boxes_are_dropped_and_counted_by_kind(folder):
    write_split(
        folder,
        "train",
        [
            annotation(11, 1, [5, 5, 10, 10]),
            annotation(12, 1, [5, 5, 0, 10]),
            annotation(13, 2, [5, 5, 10, 0]),
            annotation(14, 1, [5, 5, -3, 10]),
            annotation(15, 1, [float("nan"), 5, 3, 10]),
            annotation(16, 2, [100, 5, 3, 10]),
            annotation(17, 2, [50, -10, 30, 20]),
            annotation(18, 2, [0, 0, 1, 1]),
            annotation(19, 2, [60, 40, 4.5, 8.2]),
        ],
    )
    data = load_data(folder)
    assert data.warnings == (
        "train: dropped 2 boxes of zero area (first: image train_0.png, annotation id 12)",
        "train: dropped 1 box of negative width or height (image train_0.png, annotation id 14)",
        "train: dropped 1 box with a coordinate that is not a finite number "
        "(image train_0.png, annotation id 15)",
        "train: dropped 1 box outside the image (image train_1.png, annotation id 16)",
        "train: clipped 1 box partly outside the image (image train_1.png, annotation id 17)",
    )
    train = data.split("train")
    np.testing.assert_array_equal(train.boxes[0], [[5, 5, 15, 15]])
    # The last one leaves the image by less than a pixel: rounding, clipped without a word.
    np.testing.assert_array_equal(train.boxes[1], [[50, 0, 64, 10], [0, 0, 1, 1], [60, 40, 64, 48]])
    assert train.dropped == {1, 2, 3, 4, 5}


def test_splits_may_number_the_same_classes_differently(folder):
    other = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    write_split(folder, "val", [annotation(1, 1, [1, 1, 5, 5], category=1)], categories=other)
    val = load_data(folder).split("val")
    assert val.category_ids == (2, 1)
    assert val.labels[0].tolist() == [1]


def test_yaml_names_folders_relative_to_itself(folder, tmp_path):
    source = tmp_path / "set.yaml"
    source.write_text(
        "name: animals\n"
        "train: {images: pets/images/train, annotations: pets/annotations/instances_train.json}\n"
        "val: {images: pets/images/val, annotations: pets/annotations/instances_val.json}\n"
    )
    data = load_data(source)
    assert data.name == "animals"
    assert data.fingerprint == load_data(folder).fingerprint


def test_years_of_coco_are_understood(folder):
    (folder / "annotations/instances_val.json").rename(folder / "annotations/instances_val2017.json")
    (folder / "images/val").rename(folder / "val2017")
    assert len(load_data(folder).split("val")) == 2


def test_fingerprint_follows_content_not_place(folder, tmp_path):
    before = load_data(folder).fingerprint
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "annotations/instances_val.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))
    assert load_data(copy).fingerprint == before
    edit(path, lambda document: document["annotations"][0].update(bbox=[5, 6, 20, 11]))
    assert load_data(copy).fingerprint != before


def test_a_test_split_alone_when_asked(folder, tmp_path):
    write_split(tmp_path / "only", "test")
    assert tuple(load_data(tmp_path / "only", splits=("test",)).splits) == ("test",)
    with pytest.raises(UserError, match="no split 'test'; it has: train, val"):
        load_data(folder).split("test")


def test_no_val_says_what_to_do(tmp_path):
    write_split(tmp_path / "d", "train")
    message = refusal(tmp_path / "d")
    assert "no 'val' split (found: train)" in message
    assert "put 10-20 %" in message


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda d: shutil.rmtree(d), "no such folder"),
        (lambda d: shutil.rmtree(d / "annotations"), "no folder 'annotations'"),
        (lambda d: shutil.rmtree(d / "images/val"), "images of 'val' is missing"),
        (
            lambda d: shutil.rmtree(d / "images/val") or (d / "data.yaml").write_text("train: x"),
            "data.yaml may tell where they are",
        ),
        (
            lambda d: (d / "annotations/instances_val.json").write_text('{"images": [1,\n 2'),
            "line 2, column 3",
        ),
        (lambda d: (d / "annotations/instances_val.json").write_text("[]"), "not COCO annotations"),
        (
            lambda d: (d / "annotations/instances_val.json").write_text('{"images": []}'),
            "lacks 'annotations'",
        ),
        (lambda d: (d / "annotations/instances_val.json").write_bytes(b'{"a": "\xff"}'), "not UTF-8"),
        (lambda d: (d / "images/val/val_1.png").unlink(), "1 of 2 image files are missing (first: "),
        (lambda d: (d / "images/val/val_1.png").write_bytes(b"no image"), "not a readable image"),
        (
            lambda d: shutil.rmtree(d / "annotations") or (d / "annotations").mkdir(),
            "no instances_train.json",
        ),
    ],
)
def test_broken_folders(folder, damage, expected):
    damage(folder)
    assert expected in refusal(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d["annotations"][0].pop("bbox"), "annotations: entry with id 1 lacks 'bbox'"),
        (lambda d: d["images"][1].pop("width"), "images: entry with id 2 lacks 'width'"),
        (lambda d: d["images"][1].update(width=0), "width is 0"),
        (lambda d: d["images"][1].update(width=65), "is 64x48 pixels but the annotations say 65x48"),
        (lambda d: d["images"][1].update(id=1), "image id 1 occurs twice"),
        (lambda d: d["annotations"][1].update(image_id=99), "annotation id 2, image_id 99"),
        (lambda d: d["annotations"][1].update(category_id=99), "annotation id 2, category_id 99"),
        (lambda d: d["annotations"][1].update(bbox=[1, 2, 3]), "annotation id 2: bbox must be four numbers"),
        (lambda d: d["annotations"][1].update(bbox=[1, 2, 3, "4"]), "bbox must be four numbers"),
        (lambda d: d["annotations"][1].update(area="big"), "annotation id 2: area is 'big'"),
        (lambda d: d["annotations"][1].update(iscrowd="no"), "annotation id 2: iscrowd is 'no'"),
        (lambda d: d["annotations"][1].update(image_id="one"), "image_id must be a whole number, not 'one'"),
        (lambda d: d["categories"].pop(), "only in train: dog"),
        (lambda d: d["categories"].clear(), "'categories' is empty"),
        (lambda d: d["categories"][0].update(name="dog"), "category name 'dog' occurs twice"),
        (lambda d: d["annotations"].clear(), "the val split has no usable boxes"),
        (lambda d: (d["annotations"].clear(), d["images"].clear()), "the val split has no images"),
        (lambda d: d.update(images={}), "'images' must be a list"),
        (lambda d: d.update(images=[3]), "every entry of 'images' must be an object"),
    ],
)
def test_broken_annotations(folder, change, expected):
    path = folder / "annotations/instances_val.json"
    edit(path, change)
    message = refusal(folder)
    assert expected in message
    assert str(folder) in message


def test_an_image_of_too_many_pixels_is_refused(folder, monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    assert "too many pixels" in refusal(folder)
    with pytest.raises(ValueError, match="too many pixels"):
        image_size(folder / "images/val/val_1.png")


def test_train_with_nothing_but_crowds(folder):
    write_split(folder, "train", [annotation(1, 1, [1, 1, 5, 5], iscrowd=1)])
    assert "nothing can be learnt" in refusal(folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: [", "not valid YAML at line"),
        ("- 1", "expected `train:"),
        ("name: x", "names no split"),
        ("nc: 80", "unknown key 'nc'"),
        ("train: images", "train must be {images: DIR, annotations: FILE}"),
        ("train: {images: nowhere, annotations: x.json}", "image folder"),
        ("train: {images: pets/images/train, annotations: x.json}", "annotation file"),
    ],
)
def test_broken_yaml(folder, tmp_path, text, expected):
    source = tmp_path / "set.yaml"
    source.write_text(text)
    assert expected in refusal(source)


def test_a_file_that_is_no_data(tmp_path):
    (tmp_path / "x.csv").write_text("")
    assert "not a .csv file" in refusal(tmp_path / "x.csv")


def test_with_classes_renumbers_labels_and_ids(folder):
    write_split(folder, "val", [annotation(1, 1, [1, 1, 5, 5], category=7)])
    data = load_data(folder)
    val = data.split("val").with_classes(data.class_names, ("dog", "cat"))
    assert (val.labels[0].tolist(), val.category_ids) == ([0], (7, 3))
    with pytest.raises(UserError, match="not those of the network"):
        data.split("val").with_classes(data.class_names, ("dog", "bird"))


def test_real_blood_cells_drop_their_two_flat_boxes(shared_data):
    data = load_data(shared_data / "bccd")
    assert data.class_names == ("RBC", "WBC", "Platelets")
    assert [line.split(" (")[0] for line in data.warnings] == [
        "train: dropped 1 box of zero area",
        "val: dropped 1 box of zero area",
    ]
    for split in data.splits.values():
        for image, boxes in zip(split.images, split.boxes, strict=True):
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert (boxes >= 0).all()
            assert (boxes <= [image.width, image.height] * 2).all()
