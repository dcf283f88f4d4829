"""YOLO data sets: a data.yaml, images, and one .txt per image with `class x y width height` as shares.

The lines are read by globox; where files lie is Ultralytics' convention.
"""

from pathlib import Path
from typing import Any

from evaluators.data.foreign import ForeignData, ForeignImage, Problems, box_of, image_size, images_in, listed
from evaluators.data.places import read_yaml
from foundation.errors import UserError

SPLIT_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def read_yolo(source: Path) -> ForeignData:
    """Read all splits.

    Args:
        source: data.yaml, or the one folder that has it.

    Raises:
        UserError: missing parts, or lines that are no boxes: how many, and the first with file and line.
    """
    config = _config_file(source)
    document = read_yaml(config)
    names = _names(document, config)
    problems, notes = Problems(), []
    splits = {}
    for split, keys in SPLIT_KEYS.items():
        entry = next((document[key] for key in keys if document.get(key)), None)
        if entry is None:
            continue
        images = _images(config, document, entry)
        if not images:
            raise UserError(f"{config}: the {split} split has no images; check its path")
        splits[split] = tuple(_image(path, names, problems) for path in images)
        bare = sum(not _label_file(path).is_file() for path in images)
        if bare:
            notes.append(f"{split}: {bare} images have no label file and count as images without objects")
        notes += _orphans(split, images)
    problems.refuse(source)
    if not splits:
        raise UserError(f"{config}: names no split; it needs `train:` and `val:` with folders of images")
    return ForeignData(splits, names, tuple(notes))


def _config_file(source: Path) -> Path:
    if source.is_file():
        return source
    found = sorted([*source.glob("*.yaml"), *source.glob("*.yml")]) if source.is_dir() else []
    if len(found) == 1:
        return found[0]
    many = f"it has {listed([path.name for path in found])}" if found else "it has none"
    raise UserError(f"{source}: a YOLO data set is named by its data.yaml ({many}); give that file")


def _names(document: dict[Any, Any], config: Path) -> tuple[str, ...]:
    names = document.get("names")
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, list) or not names:
        raise UserError(f"{config}: `names` must list the classes, or number them from 0")
    texts = [str(name) for name in names]
    if len(set(texts)) != len(texts):
        raise UserError(f"{config}: `names` has a class twice; every name must be unique")
    return tuple(texts)


def _images(config: Path, document: dict[Any, Any], entry: Any) -> list[Path]:
    found: list[Path] = []
    for text in entry if isinstance(entry, list) else [entry]:
        place = _place(config, document, str(text))
        if place.is_dir():
            found += images_in(place)
        elif place.suffix == ".txt" and place.is_file():
            lines = [line.strip() for line in place.read_text(encoding="utf-8").splitlines()]
            found += [place.parent / line for line in lines if line]
        else:
            raise UserError(f"{config}: {text}: no such folder of images or .txt list of them ({place})")
    return sorted(set(found))


def _place(config: Path, document: dict[Any, Any], text: str) -> Path:
    root = config.parent / Path(str(document.get("path") or ".")).expanduser()
    place = root / text
    if not place.exists() and not document.get("path") and text.startswith("../"):
        return root / text.removeprefix("../")  # as Roboflow exports it
    return place


def _label_file(image: Path) -> Path:
    """The last folder called `images` becomes `labels`; else the labels lie beside the images."""
    parts = list(image.parts)
    for position in range(len(parts) - 2, -1, -1):
        if parts[position] == "images":
            parts[position] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _orphans(split: str, images: list[Path]) -> list[str]:
    known = {_label_file(path) for path in images}
    orphans = [
        path.name
        for folder in sorted({path.parent for path in known})
        for path in sorted(folder.glob("*.txt"))
        if path not in known and path.name != "classes.txt"
    ]
    return [f"{split}: {len(orphans)} label files have no image ({listed(orphans, 3)})"] if orphans else []


def _image(path: Path, names: tuple[str, ...], problems: Problems) -> ForeignImage:
    try:
        width, height, turned = image_size(path)
    except ValueError as error:
        problems.add(path, f"{error}; replace it, or remove it with its label file")
        return ForeignImage(path, 1, 1, ())
    if turned:
        problems.add(
            path,
            "is turned by EXIF, and shares do not tell whether boxes were drawn on the turned image; store "
            "the pixels turned (for example with `mogrify -auto-orient`)",
        )
    return ForeignImage(path, width, height, _boxes(_label_file(path), (width, height), names, problems))


def _boxes(
    path: Path, size: tuple[int, int], names: tuple[str, ...], problems: Problems
) -> tuple[tuple[str, float, float, float, float], ...]:
    from globox import BoundingBox
    from globox.errors import ParsingError

    if not path.is_file():
        return ()
    boxes = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.add(path, f"cannot be read ({error})")
        return ()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        values = len(line.split())
        if values != 5:
            kind = "a polygon" if values > 6 else "no box"
            problems.add(where, f"{kind}: {values} values, and `class x y width height` is expected")
            continue
        try:
            label, x1, y1, x2, y2 = box_of(BoundingBox.from_yolo_v5(line, image_size=size))
            boxes.append((names[_index(label, len(names))], x1, y1, x2, y2))
        except (ParsingError, AssertionError, ValueError) as error:
            problems.add(where, f"no box ({error or 'not numbers'})")
    return tuple(boxes)


def _index(label: str, count: int) -> int:
    value = float(label)
    if not value.is_integer() or not 0 <= value < count:
        raise ValueError(f"class {label} is not one of 0..{count - 1}")
    return int(value)
