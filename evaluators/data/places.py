"""Where the splits of a data set are: a folder in COCO layout, or a YAML file that names them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import UserError

SPLITS = ("train", "val", "test")
LAYOUT = "images/<split>/ and annotations/instances_<split>.json"
_NAMED = re.compile(r"instances_(?P<found>(?P<split>train|val|test)(?:\d{4})?)\.json")

_CONVERT = "python -m evaluators data convert --from {kind} --source {source} --out DIR"


@dataclass(frozen=True, slots=True)
class Places:
    """A data set's name and, per split, its image folder and annotation file."""

    name: str
    splits: Mapping[str, tuple[Path, Path]]


def find(source: Path) -> Places:
    """Locate the splits without reading them. Raises UserError when the source or a part is missing."""
    if source.is_dir():
        return Places(source.resolve().name, _in_folder(source))
    if source.suffix.lower() in (".yaml", ".yml"):
        return _in_yaml(source)
    if source.is_file():
        raise UserError(f"{source}: data is a folder or a .yaml file, not a {source.suffix or 'plain'} file")
    raise UserError(f"{source}: no such folder; give 'bundled', a folder with {LAYOUT}, or a .yaml file")


def _in_folder(folder: Path) -> dict[str, tuple[Path, Path]]:
    annotations = folder / "annotations"
    if not annotations.is_dir():
        if kind := _foreign(folder):
            raise UserError(
                f"{folder}: looks like {kind.upper()}; convert it: {_CONVERT.format(kind=kind, source=folder)}"
            )
        raise UserError(f"{folder}: no folder 'annotations' in it; expected {LAYOUT}")
    found: dict[str, list[re.Match[str]]] = {}
    for path in sorted(annotations.iterdir()):
        if match := _NAMED.fullmatch(path.name):
            found.setdefault(match["split"], []).append(match)
    if not found:
        present = ", ".join(sorted(path.name for path in annotations.iterdir())[:5]) or "nothing"
        raise UserError(f"{annotations}: no instances_train.json, instances_val.json here (found: {present})")
    places = {}
    for split in SPLITS:
        if split in found:
            name = _one(found[split], split, annotations)
            places[split] = _image_folder(folder, name), annotations / f"instances_{name}.json"
    return places


def _foreign(folder: Path) -> str | None:
    """What other format a folder seems to hold."""
    if (folder / "ImageSets").is_dir() or (
        (folder / "train").is_dir() and any((folder / "train").rglob("*.xml"))
    ):
        return "voc"
    if (folder / "labels").is_dir() or (folder / "data.yaml").is_file():
        return "yolo"
    return None


def _one(matches: list[re.Match[str]], split: str, folder: Path) -> str:
    """`train` before `train2017`; two years cannot be chosen between."""
    names = [match["found"] for match in matches]
    if split in names or len(names) == 1:
        return split if split in names else names[0]
    raise UserError(f"{folder}: {' and '.join(names)} both could be {split}; name one in a .yaml file")


def _image_folder(folder: Path, name: str) -> Path:
    candidates = (folder / "images" / name, folder / name)  # ours, and COCO's own
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    own = folder / "data.yaml"
    hint = f"; {own} may tell where they are: give it instead of the folder" if own.is_file() else ""
    raise UserError(f"{candidates[0]}: folder with the images of {name!r} is missing{hint}")


def _in_yaml(path: Path) -> Places:
    document = read_yaml(path)
    unknown = sorted(set(document) - {*SPLITS, "name"}, key=str)
    if "names" in document:
        raise UserError(f"{path}: looks like YOLO; convert it: {_CONVERT.format(kind='yolo', source=path)}")
    if unknown:
        raise UserError(f"{path}: unknown key {str(unknown[0])!r}; known are name, {', '.join(SPLITS)}")
    places = {}
    for split in SPLITS:
        if document.get(split) is not None:
            places[split] = _yaml_split(path, split, document[split])
    if not places:
        raise UserError(
            f"{path}: names no split; add `train: {{images: DIR, annotations: FILE}}` and `val: ...`"
        )
    return Places(str(document.get("name") or path.stem), places)


def read_yaml(path: Path) -> dict[Any, Any]:
    """A YAML file that holds a mapping. Raises UserError with the position when it does not."""
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(f"{path}: not valid YAML{where}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); check the path") from error
    if not isinstance(document, dict):
        raise UserError(
            f"{path}: expected `train: {{images: DIR, annotations: FILE}}` and `val: ...`, as a mapping"
        )
    return document


def _yaml_split(path: Path, split: str, entry: Any) -> tuple[Path, Path]:
    keys = ("images", "annotations")
    if (
        not isinstance(entry, dict)
        or set(entry) != set(keys)
        or not all(isinstance(entry[k], str) for k in keys)
    ):
        raise UserError(f"{path}: {split} must be {{images: DIR, annotations: FILE}}")
    images, annotations = (path.parent / Path(entry[key]).expanduser() for key in keys)
    if not images.is_dir():
        raise UserError(
            f"{path}: {split}: image folder {images} is missing (paths are relative to the YAML file)"
        )
    if not annotations.is_file():
        raise UserError(f"{path}: {split}: annotation file {annotations} is missing")
    return images, annotations
