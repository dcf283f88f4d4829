"""`python -m evaluators accuracy`: the twelve COCO figures of a results file, or of an artefact on data."""

import sys
from pathlib import Path
from typing import Any

import click

from foundation.cli import json_option, print_json, progress
from foundation.errors import UserError

EXAMPLES = """\b
Examples:
  python -m evaluators accuracy --ground-truth instances_val.json --detections results.json
  python -m evaluators accuracy --artefact exported/yolov6-s --data my_data --split test --json
"""


@click.command(name="accuracy", short_help="COCO AP of detections or of an artefact.", epilog=EXAMPLES)
@click.option("--ground-truth", type=click.Path(path_type=Path), help="COCO annotations (JSON).")
@click.option("--detections", type=click.Path(path_type=Path), help="COCO results (JSON) to judge by them.")
@click.option("--artefact", type=click.Path(path_type=Path), help="Folder of an artefact to run on --data.")
@click.option("--data", help="'bundled', a folder in COCO layout, or a .yaml file (docs/data.md).")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="val", show_default=True)
@click.option("--hardware", default="auto", show_default=True, help="What the artefact runs on.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@json_option
def accuracy_command(
    ground_truth: Path | None,
    detections: Path | None,
    artefact: Path | None,
    data: str | None,
    split: str,
    hardware: str,
    limit: int | None,
    as_json: bool,
) -> None:
    """COCO accuracy (AP, AP50, ... AR_large) of a results file, or of an artefact through its engine."""
    from_files = ground_truth is not None and detections is not None and artefact is None and data is None
    from_engine = artefact is not None and data is not None and ground_truth is None and detections is None
    if ground_truth and detections and from_files:
        result = _of_files(ground_truth, detections)
    elif artefact and data and from_engine:
        result = _of_artefact(artefact, data, split, hardware, limit)
    else:
        raise UserError("give --ground-truth with --detections, or --artefact with --data")
    if as_json:
        print_json(result)
    else:
        click.echo(table(result))


def table(result: dict[str, Any]) -> str:
    """The figures in percent, and AP by class, as text."""
    figures = dict(result["figures"])
    per_class = figures.pop("per_class")
    lines = [f"{name:<10} {_percent(value)}" for name, value in figures.items()]
    width = max(map(len, per_class), default=0)
    lines += ["", "AP by class"] + [
        f"  {name:<{width}} {_percent(value)}" for name, value in per_class.items()
    ]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "undefined (no boxes of this kind)" if value is None else f"{100 * value:5.1f}"


def _of_files(ground_truth: Path, detections: Path) -> dict[str, Any]:
    from evaluators.accuracy.coco import evaluate
    from evaluators.accuracy.detections_file import read_detections
    from evaluators.data.coco_json import read_annotations, read_json

    truth = read_annotations(ground_truth)
    image_ids = {image["id"] for image in truth.images}
    found, warnings = read_detections(detections, image_ids, set(truth.category_names))
    for line in warnings:
        progress(f"warning: {line}")
    figures = evaluate(read_json(ground_truth), found)
    return {"figures": figures.to_dict(), "images": len(image_ids), "detections": len(found)}


def _of_artefact(folder: Path, source: str, split: str, hardware: str, limit: int | None) -> dict[str, Any]:
    from evaluators.accuracy.judge import judge
    from evaluators.artefact import load_artefact
    from evaluators.data import load_data
    from evaluators.latency import open_engine, resolve_hardware

    artefact = load_artefact(folder)
    device = resolve_hardware(hardware)
    data = load_data(source, splits=(split,))
    for line in data.warnings:
        progress(f"warning: {line}")
    part = data.split(split).with_classes(data.class_names, artefact.meta.class_names)
    progress(device.reason)
    progress(f"data: {data.name} ({data.description})")
    total = len(part) if limit is None else min(limit, len(part))
    images: Any = click.progressbar(length=total, label="images", file=sys.stderr)
    with open_engine(artefact, device) as engine, images as bar:
        accuracy = judge(
            engine,
            part,
            image_size=artefact.meta.image_size,
            limit=limit,
            on_image=lambda done: bar.update(done - bar.pos),
        )
    return {
        **accuracy.to_dict(),
        "artefact": artefact.hash,
        "data": {"name": data.name, "fingerprint": data.fingerprint},
        "hardware": device.name,
    }
