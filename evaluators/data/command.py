"""`python -m evaluators data`: what a person wants to know of a data set before training on it."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from foundation.cli import json_option, print_json, progress

EXAMPLES = """\b
Examples:
  python -m evaluators data check --data my_data
  python -m evaluators data check --data bundled --split val --sheet val.jpg
"""
# COCO's names for sizes, by the side of a square of the same area, in pixels.
SIZES = (("small", 0.0, 32.0), ("medium", 32.0, 96.0), ("large", 96.0, float("inf")))


@click.group(name="data", epilog="Example: python -m evaluators data check --data my_data")
def data_command() -> None:
    """Look at detection data."""


@data_command.command(
    name="check", short_help="Count what a data set holds, name what is wrong.", epilog=EXAMPLES
)
@click.option("--data", "source", required=True, help="'bundled', a folder, or a .yaml file (docs/data.md).")
@click.option("--split", help="Only this split, for data that has no train or val.")
@click.option(
    "--sheet", type=click.Path(path_type=Path), help="Draw a contact sheet of images with boxes here."
)
@json_option
def check_command(source: str, split: str | None, sheet: Path | None, as_json: bool) -> None:
    """Read a data set, count what is in it, and name what is wrong with it."""
    from evaluators.data.contact_sheet import contact_sheet, write_sheet
    from evaluators.data.loading import load_data

    data = load_data(source, splits=(split,) if split else None)
    if sheet:
        write_sheet(contact_sheet(next(iter(data.splits.values())), data.class_names), sheet)
        progress(f"wrote {sheet}")
    result: dict[str, Any] = {
        "name": data.name,
        "description": data.description,
        "fingerprint": data.fingerprint,
        "splits": {
            name: summary(part.boxes, part.labels, part.crowd, data.class_names)
            for name, part in data.splits.items()
        },
        "warnings": list(data.warnings),
    }
    if as_json:
        print_json(result)
    else:
        click.echo(_text(result))


def summary(
    boxes: tuple[np.ndarray, ...],
    labels: tuple[np.ndarray, ...],
    crowd: tuple[np.ndarray, ...],
    class_names: tuple[str, ...],
) -> dict[str, Any]:
    """Counts of one split; crowd regions are counted apart and nowhere else."""
    single = ~np.concatenate(crowd)
    every, label = np.concatenate(boxes)[single], np.concatenate(labels)[single]
    sides = np.sqrt(np.prod(every[:, 2:] - every[:, :2], axis=1))
    per_class = np.bincount(label, minlength=len(class_names)).tolist()
    return {
        "images": len(boxes),
        "images_without_boxes": sum(len(part) == 0 for part in boxes),
        "boxes": len(every),
        "crowd_regions": int((~single).sum()),
        "by_size": {name: int(((sides >= low) & (sides < high)).sum()) for name, low, high in SIZES},
        "by_class": dict(zip(class_names, per_class, strict=True)),
    }


def _text(result: dict[str, Any]) -> str:
    lines = [f"{result['name']}: {result['description']} (fingerprint {result['fingerprint']})"]
    for name, part in result["splits"].items():
        sizes = ", ".join(f"{size} {count}" for size, count in part["by_size"].items())
        classes = ", ".join(f"{label}: {count}" for label, count in part["by_class"].items())
        lines += [
            f"{name}: {part['images']} images ({part['images_without_boxes']} without boxes), "
            f"{part['boxes']} boxes, {part['crowd_regions']} crowd regions",
            f"  by size: {sizes}",
            f"  by class: {classes}",
        ]
    lines += [f"warning: {line}" for line in result["warnings"]] or ["no warnings"]
    return "\n".join(lines)
