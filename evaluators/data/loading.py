"""`load_data`: from what a user names to checked values."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evaluators.data.boxes import clean_boxes
from evaluators.data.coco_json import CocoAnnotations, read_annotations
from evaluators.data.detection_data import DetectionData, ImageRecord, Split
from evaluators.data.image_files import check_headers, file_sizes
from evaluators.data.places import SPLITS, find
from foundation.errors import UserError


def load_data(source: str | Path, *, splits: Sequence[str] | None = None) -> DetectionData:
    """Read and check a detection data set; images themselves are read later, one by one.

    Args:
        source: "bundled", a folder in COCO layout, or a YAML file that names folders and annotations
            (docs/data.md).
        splits: read only these, and require them. Default: train and val are required, test is read if there.

    Raises:
        UserError: anything that keeps the data from being used, in one line.
    """
    if str(source) == "bundled":
        from evaluators.data.bundled import DESCRIPTION, make_bundled

        return load_folder(make_bundled(), splits=splits, name="digits", description=DESCRIPTION)
    return load_folder(Path(source).expanduser(), splits=splits)


def load_folder(
    source: Path,
    *,
    splits: Sequence[str] | None = None,
    name: str | None = None,
    description: str | None = None,
) -> DetectionData:
    """`load_data` for a folder or YAML file, under another name and description if given."""
    places = find(source)
    required = ("train", "val") if splits is None else tuple(splits)
    for split in required:
        if split not in places.splits:
            raise UserError(_missing_split(source, split, tuple(places.splits)))
    wanted = [split for split in SPLITS if split in places.splits and (splits is None or split in splits)]
    raw = {split: (places.splits[split][0], read_annotations(places.splits[split][1])) for split in wanted}
    class_names = _common_classes({split: annotations for split, (_, annotations) in raw.items()})
    loaded: dict[str, Split] = {}
    warnings: list[str] = []
    digest = hashlib.sha256("\n".join(class_names).encode())
    for split, (folder, annotations) in raw.items():
        loaded[split], lines = _split(split, folder, annotations, class_names)
        warnings += [f"{split}: {line}" for line in lines]
        _require_content(loaded[split], annotations.path)
        _add_to_fingerprint(digest, loaded[split], annotations)
    name = name or places.name
    count = ", ".join(f"{split} {len(part)}" for split, part in loaded.items())
    return DetectionData(
        name=name,
        description=description or f"{len(class_names)} classes; images: {count}",
        fingerprint=digest.hexdigest()[:12],
        class_names=class_names,
        splits=loaded,
        warnings=tuple(warnings),
    )


def _missing_split(source: Path, split: str, found: tuple[str, ...]) -> str:
    what_to_do = {
        "train": "the search trains on it",
        "val": "networks are judged on it: put 10-20 % of the training images and their annotations aside",
    }.get(split, "choose another split")
    return f"{source}: no {split!r} split (found: {', '.join(found)}); {what_to_do}"


def _common_classes(annotations: Mapping[str, CocoAnnotations]) -> tuple[str, ...]:
    """Class names in the order of the first split's ids; another split may number the same names anew."""
    first, *others = annotations
    names = tuple(annotations[first].category_names.values())
    for other in others:
        theirs = set(annotations[other].category_names.values())
        if theirs != set(names):
            parts = [
                f"only in {split}: {', '.join(sorted(extra)[:5])}"
                for split, extra in ((first, set(names) - theirs), (other, theirs - set(names)))
                if extra
            ]
            raise UserError(
                f"{annotations[other].path}: categories differ from those of {first} ({'; '.join(parts)}); "
                "declare the same categories in every split"
            )
    return names


def _split(
    name: str, folder: Path, annotations: CocoAnnotations, class_names: tuple[str, ...]
) -> tuple[Split, tuple[str, ...]]:
    images = tuple(
        ImageRecord(
            int(entry["id"]), folder / str(entry["file_name"]), int(entry["width"]), int(entry["height"])
        )
        for entry in annotations.images
    )
    position = {image.id: index for index, image in enumerate(images)}
    owner = np.array([position[identifier] for identifier in annotations.image_ids.tolist()], dtype=np.int64)
    size = np.array([(image.width, image.height) for image in images], dtype=np.float64).reshape(-1, 2)

    def describe(index: int) -> str:
        return f"image {images[owner[index]].path.name}, annotation id {annotations.annotation_ids[index]}"

    clean = clean_boxes(annotations.boxes, size[owner], describe)
    id_of = {category: identifier for identifier, category in annotations.category_names.items()}
    category_ids = tuple(id_of[category] for category in class_names)
    label_of = {identifier: label for label, identifier in enumerate(category_ids)}
    labels = np.array(
        [label_of[identifier] for identifier in annotations.categories.tolist()], dtype=np.int64
    )
    # A stable sort by image keeps the order of the file within each image.
    kept = np.flatnonzero(clean.usable)
    kept = kept[np.argsort(owner[kept], kind="stable")]
    cuts = np.searchsorted(owner[kept], np.arange(1, len(images)))
    split = Split(
        name=name,
        images=images,
        boxes=tuple(np.split(clean.boxes[kept], cuts)) if images else (),
        labels=tuple(np.split(labels[kept], cuts)) if images else (),
        crowd=tuple(np.split(annotations.crowd[kept], cuts)) if images else (),
        annotations=annotations.path,
        category_ids=category_ids,
        dropped=frozenset(np.flatnonzero(~clean.usable).tolist()),
    )
    return split, clean.problems


def _require_content(split: Split, path: Path) -> None:
    if not split.images:
        raise UserError(f"{path}: the {split.name} split has no images")
    if not any((~crowd).any() for crowd in split.crowd):
        purpose = "nothing can be learnt from it" if split.name == "train" else "AP is undefined on it"
        raise UserError(f"{path}: the {split.name} split has no usable boxes, so {purpose}; annotate some")


def _add_to_fingerprint(digest: "hashlib._Hash", split: Split, annotations: CocoAnnotations) -> None:
    sizes = file_sizes(split.images, split.name)
    check_headers(split.images, split.name)
    digest.update(f"\n{split.name}".encode())
    for index, (image, entry) in enumerate(zip(split.images, annotations.images, strict=True)):
        digest.update(f"\n{entry['file_name']} {image.width} {image.height} {sizes[index]}\n".encode())
        digest.update(split.boxes[index].tobytes())
        digest.update(split.labels[index].tobytes())
        digest.update(split.crowd[index].tobytes())
