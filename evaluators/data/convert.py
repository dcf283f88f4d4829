"""Write annotations of another format as COCO JSON, with a YAML file that `load_data` reads. Images stay in place."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evaluators.data.foreign import ForeignData, ForeignImage
from evaluators.data.voc_format import read_voc
from evaluators.data.yolo_format import read_yolo
from foundation.errors import UserError

READERS: dict[str, Callable[[Path], ForeignData]] = {"yolo": read_yolo, "voc": read_voc}
YAML = "data.yaml"


def convert(kind: str, source: Path, out: Path) -> tuple[Path, ForeignData]:
    """Read `source` as `kind` (a key of READERS) and write `out`.

    Returns:
        The YAML file to give to `--data`, and what was read.

    Raises:
        UserError: the source is not of this kind or damaged, or `out` is there already; nothing is written then.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is not an empty folder; choose another --out")
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    data = READERS[kind](source)
    for split, images in data.splits.items():
        if not images:
            raise UserError(f"{source}: the {split} split has no images; remove the split, or fill it")
    places = {}
    try:
        (out / "annotations").mkdir(parents=True, exist_ok=True)
        for split, images in data.splits.items():
            folder = Path(os.path.commonpath([image.path.resolve().parent for image in images]))
            path = out / "annotations" / f"instances_{split}.json"
            path.write_text(json.dumps(coco(images, data.class_names, folder)), encoding="utf-8")
            places[split] = {
                "images": os.path.relpath(folder, out.resolve()),
                "annotations": str(path.relative_to(out)),
            }
        yaml_file = out / YAML
        yaml_file.write_text(_yaml({"name": source.resolve().stem, **places}), encoding="utf-8")
    except (PermissionError, NotADirectoryError) as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); choose another --out") from error
    return yaml_file, data


def coco(images: Sequence[ForeignImage], class_names: Sequence[str], folder: Path) -> dict[str, Any]:
    """COCO annotations; file names relative to `folder`, ids from 1 in order."""
    category = {name: number for number, name in enumerate(class_names, start=1)}
    annotations: list[dict[str, Any]] = []
    for identifier, image in enumerate(images, start=1):
        for name, x1, y1, x2, y2 in image.boxes:
            box = [round(value, 6) for value in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": identifier,
                    "category_id": category[name],
                    "bbox": box,
                    "area": round(box[2] * box[3], 6),
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {
                "id": identifier,
                "file_name": image.path.resolve().relative_to(folder).as_posix(),
                "width": image.width,
                "height": image.height,
            }
            for identifier, image in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in category.items()],
    }


def _yaml(document: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
