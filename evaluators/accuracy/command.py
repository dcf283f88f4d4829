"""`python -m evaluators accuracy`: the twelve COCO figures of a results file, or of an artefact on data."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundation.cli import PathOption, json_option, print_json, progress
from foundation.errors import UserError

if TYPE_CHECKING:
    from evaluators.accuracy.figures import CocoFigures

EXAMPLES = """\b
Examples:
  python -m evaluators accuracy --ground-truth instances_val.json --detections results.json
  python -m evaluators accuracy --artefact exported/yolov6-s --data my_data --split test --json
  python -m evaluators accuracy --artefact best --data my_data --hardware pytorch --protocol rectangular
"""


@click.command(name="accuracy", short_help="COCO AP of detections or of an artefact.", epilog=EXAMPLES)
@click.option("--ground-truth", type=PathOption(), help="COCO annotations (JSON).")
@click.option("--detections", type=PathOption(), help="COCO results (JSON) to judge by them.")
@click.option("--artefact", type=PathOption(), help="Folder of an artefact to run on --data.")
@click.option("--data", help="'bundled', a folder in COCO layout, or a .yaml file (docs/data.md).")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="val", show_default=True)
@click.option(
    "--hardware", default="auto", show_default=True, help="What the artefact runs on; or 'pytorch'."
)
@click.option(
    "--protocol",
    default="paper",
    show_default=True,
    help="paper, paper-N ... paper-L-ReLU, rectangular, plain, single-label, or a JSON object of settings.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@click.option("--interval", is_flag=True, help="Bootstrap interval of AP over the images.")
@click.option("--curves", type=PathOption(), help="Write precision-recall curves here (.npz).")
@json_option
def accuracy_command(
    ground_truth: Path | None,
    detections: Path | None,
    artefact: Path | None,
    data: str | None,
    split: str,
    hardware: str,
    protocol: str,
    limit: int | None,
    interval: bool,
    curves: Path | None,
    as_json: bool,
) -> None:
    """COCO accuracy (AP, AP50, ... AR_large) of a results file, or of an artefact through its engine.

    An interrupted run of an artefact goes on where it ended.
    """
    if curves and curves.suffix != ".npz":
        raise UserError(f"{curves}: name the file of curves .npz")
    if ground_truth and detections and not artefact and not data:
        figures, result = _of_files(ground_truth, detections, interval)
    elif artefact and data and not ground_truth and not detections:
        figures, result = _of_artefact(artefact, data, split, hardware, protocol, limit, interval)
    else:
        raise UserError("give --ground-truth with --detections, or --artefact with --data")
    if curves:
        from evaluators.accuracy.curves import save_curves

        save_curves(figures, curves)
        progress(f"wrote {curves}")
    if as_json:
        print_json(result)
    else:
        click.echo(table(result))


def table(result: dict[str, Any]) -> str:
    """The figures in percent, and AP by class, as text."""
    from evaluators.accuracy.figures import FIGURES

    figures = result["figures"]
    lines = [f"{name:<10} {_percent(figures[name])}" for name in FIGURES]
    bound = result.get("ap_interval")
    if bound:
        lines[0] += f"   ({bound['confidence']:.0%} interval {_percent(bound['low']).strip()} to "
        lines[0] += f"{_percent(bound['high']).strip()}, bootstrap over images)"
    width = max(map(len, figures["per_class"]), default=0)
    if result.get("caveat"):
        lines.insert(0, result["caveat"])
    lines += ["", "AP by class"]
    lines += [f"  {name:<{width}} {_percent(value)}" for name, value in figures["per_class"].items()]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "undefined (no boxes of this kind)" if value is None else f"{100 * value:5.1f}"


def _of_files(ground_truth: Path, detections: Path, interval: bool) -> "tuple[CocoFigures, dict[str, Any]]":
    from evaluators.accuracy.coco import evaluate
    from evaluators.accuracy.detections_file import read_detections
    from evaluators.data.coco_json import read_annotations, read_json

    truth = read_annotations(ground_truth)
    image_ids = {image["id"] for image in truth.images}
    found, warnings = read_detections(detections, image_ids, set(truth.category_names))
    for line in warnings:
        progress(f"warning: {line}")
    document = read_json(ground_truth)
    figures = evaluate(document, found)
    result = {"figures": figures.to_dict(), "images": len(image_ids), "detections": len(found)}
    if interval:
        from evaluators.accuracy.interval import ap_interval
        from evaluators.accuracy.matches import match_images

        bound = ap_interval(match_images(document, found, sorted(image_ids)))
        result["ap_interval"] = None if bound is None else bound.to_dict()
    return figures, result


def _of_artefact(
    folder: Path,
    source: str,
    split: str,
    hardware: str,
    protocol: str,
    limit: int | None,
    interval: bool,
) -> "tuple[CocoFigures, dict[str, Any]]":
    from evaluators.accuracy.backends import caveat, precision_judged, resolve_backend
    from evaluators.accuracy.of_artefact import judge_artefact, load_split
    from evaluators.accuracy.protocol import protocol_named
    from evaluators.artefact import load_artefact

    rules = protocol_named(protocol)
    artefact = load_artefact(folder)
    backend = resolve_backend(hardware)
    progress(backend.reason)
    doubt = caveat(artefact, backend)
    if doubt:
        progress(f"warning: {doubt}")
    data, part = load_split(artefact, source, split)
    accuracy = judge_artefact(artefact, data, part, backend, protocol=rules, limit=limit, interval=interval)
    return accuracy.figures, {
        **accuracy.to_dict(),
        "artefact": artefact.hash,
        "data": {"name": data.name, "fingerprint": data.fingerprint},
        "hardware": backend.name,
        "backend": backend.backend,
        "precision": precision_judged(artefact, backend),
        "caveat": doubt,
    }
