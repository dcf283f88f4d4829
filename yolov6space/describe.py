"""The commands `list` and `describe`: named networks, and everything known about one before it is built."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from foundation.cli import PathOption, json_option, print_json, progress
from foundation.errors import UserError
from yolov6space.candidate import Candidate, SpecError
from yolov6space.cost import LayerCost, layers, totals
from yolov6space.published import PublishedFigure, published
from yolov6space.variants import canonical_name, get, named, official

DEFAULT_IMAGE_SIZE = 640  # of the paper
_DIGITS = {"ap": ".1f", "ap50": ".1f", "fps": ".0f", "latency_ms": ".1f", "params_m": "", "flops_g": ""}
_PLACES = (
    "stage 2, stride 4",
    "stage 3, stride 8",
    "stage 4, stride 16",
    "stage 5, stride 32",
    "neck p4, top-down, stride 16",
    "neck p3, top-down, stride 8",
    "neck n3, bottom-up, stride 16",
    "neck n4, bottom-up, stride 32",
)


@click.command("list", short_help="The official variants, and the paper's ablations.")
@json_option
def list_command(as_json: bool) -> None:
    """Named networks: the official variants, then the ablations of the paper.

    \b
    Examples:
      python -m yolov6space list
      python -m yolov6space list --json
    """
    rows = [_summary(name, candidate) for name, candidate in named().items()]
    if as_json:
        print_json(rows)
        return
    head = (
        "name",
        "params M",
        "GFLOPs",
        "blocks",
        "conv",
        "activation",
        "DFL",
        "box loss",
        "published AP",
        "key",
    )
    body = [
        (
            row["name"],
            f"{row['params'] / 1e6:.2f}",
            f"{row['flops'] / 1e9:.2f}",
            row["blocks"],
            row["conv"],
            row["activation"],
            "yes" if row["dfl"] else "no",
            row["box_loss"],
            "-" if row["published_ap"] is None else f"{row['published_ap']:.1f}",
            row["key"],
        )
        for row in rows
    ]
    click.echo(_table(head, body, numbers=(1, 2, 8)))
    click.echo(
        f"\nGFLOPs are true ones at {DEFAULT_IMAGE_SIZE} px; rows with the same key are one candidate that the paper "
        "tabulates twice. `python -m yolov6space describe NAME` says more."
    )


@click.command("describe", short_help="One network: stages, cost, published figures.")
@click.argument("name", required=False)
@click.option("--spec", type=PathOption(), help="A candidate in JSON instead of a name.")
@click.option(
    "--image-size",
    type=click.IntRange(32, 4096),
    help="Input side in pixels, a multiple of 32; the candidate's own or 640 by default.",
)
@click.option("--classes", type=click.IntRange(1, 100_000), default=80, show_default=True)
@click.option("--drawing", type=PathOption(), help="Draw the stages: FILE.svg or FILE.png.")
@json_option
def describe_command(
    name: str | None,
    spec: Path | None,
    image_size: int | None,
    classes: int,
    drawing: Path | None,
    as_json: bool,
) -> None:
    """One network: stages, size and cost, published figures, and every layer of the deploy form.

    \b
    Examples:
      python -m yolov6space describe N
      python -m yolov6space describe YOLOv6-M --image-size 320 --classes 3 --drawing m.svg
      python -m yolov6space describe --spec candidate.json --json
    """
    if (name is None) == (spec is None):
        raise click.UsageError("give either the NAME of a network or --spec FILE.json")
    if spec is not None:
        title, candidate, figures = spec.stem, read_candidate(spec), list[PublishedFigure]()
    else:
        assert name is not None
        title, candidate, figures = canonical_name(name), get(name), published(name)
    size = image_size or candidate.image_size or DEFAULT_IMAGE_SIZE
    try:
        table = layers(
            candidate.model, num_classes=classes, image_size=size, precision=candidate.precision.kind
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    if drawing is not None:
        from yolov6space.drawing import draw

        draw(candidate.model, drawing, title=title, image_size=size, num_classes=classes)
        progress(f"drew {drawing}")
    if as_json:
        print_json(
            {
                "name": title,
                "key": candidate.key,
                "image_size": size,
                "num_classes": classes,
                "candidate": candidate.to_dict(),
                "cost": totals(table)._asdict(),
                "layers": [layer._asdict() for layer in table],
                "published": [dataclasses.asdict(figure) for figure in figures],
            }
        )
        return
    click.echo(_text(title, candidate, table, figures, size, classes))


def read_candidate(path: Path) -> Candidate:
    """A candidate from a JSON file. Raises UserError that says what is wrong with it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    try:
        return Candidate.from_dict(data)
    except SpecError as error:
        hint = "; `python -m yolov6space describe N --json` shows one under `candidate`"
        raise UserError(f"{path}: {error}{hint}") from None


def _summary(name: str, candidate: Candidate) -> dict[str, Any]:
    model = candidate.model
    cost = totals(layers(model))
    kinds = sorted({stage.block for stage in (*model.backbone, *model.neck)}, reverse=True)
    aps = [figure.value for figure in published(name) if figure.metric == "ap"]
    return {
        "name": name,
        "official": name in official(),
        "key": candidate.key,
        "params": cost.params,
        "flops": cost.flops,
        "flops_published": cost.flops_published,
        "blocks": "+".join(kinds),
        "conv": model.conv,
        "activation": model.activation,
        "dfl": model.use_dfl,
        "box_loss": candidate.recipe.box_loss,
        "published_ap": aps[0] if aps else None,
    }


def _text(
    title: str,
    candidate: Candidate,
    table: Sequence[LayerCost],
    figures: Sequence[PublishedFigure],
    size: int,
    classes: int,
) -> str:
    model, recipe, cost = candidate.model, candidate.recipe, totals(tuple(table))
    stages = [
        (place, stage.block, str(stage.channels), str(stage.hidden_channels or "-"), str(stage.repeats))
        for place, stage in zip(_PLACES, (*model.backbone, *model.neck), strict=True)
    ]
    dfl = f"DFL with {model.reg_max + 1} bins" if model.use_dfl else "no DFL"
    head_widths = "/".join(map(str, model.head_channels))
    mib = 2.0**20
    sections = [
        f"{title}  (key {candidate.key})",
        f"3x3 convolutions {model.conv}, activation {model.activation}, stem {model.stem_channels}, "
        f"head {head_widths}, {dfl}\n"
        f"trained with {recipe.box_loss}, {recipe.class_loss}, {recipe.assigner}, "
        f"distillation {recipe.distillation}; deployed as {candidate.precision.label}",
        _table(("stage", "block", "channels", "inside", "repeats"), stages, numbers=(2, 3, 4)),
        f"At {size} px, {classes} classes, batch 1:\n"
        f"  parameters       {cost.params / 1e6:.2f} M deployed, "
        f"{cost.training_params / 1e6:.2f} M in training\n"
        f"  FLOPs            {cost.flops / 1e9:.2f} G, "
        f"{cost.flops_published / 1e9:.2f} G as the paper counts\n"
        f"  weights          {cost.weight_bytes / mib:.1f} MiB in {candidate.precision.kind}\n"
        f"  activations      {cost.activation_bytes / mib:.1f} MiB written, at most "
        f"{cost.peak_activation_bytes / mib:.1f} MiB at a time",
    ]
    if figures:
        rows = [
            (
                figure.metric,
                f"{figure.value:{_DIGITS[figure.metric]}}",
                figure.unit,
                _conditions(figure),
                figure.source,
            )
            for figure in figures
        ]
        sections.append(
            "Published:\n" + _table(("metric", "value", "unit", "conditions", "source"), rows, numbers=(1,))
        )
        notes = dict.fromkeys(f"{figure.table}: {figure.note}" for figure in figures if figure.note)
        if notes:
            sections.append("\n".join(notes))
    body = [
        (
            layer.name,
            layer.kind,
            "x".join(map(str, layer.input_shape)),
            "x".join(map(str, layer.output_shape)),
            f"{layer.kernel}/{layer.stride}",
            layer.activation,
            f"{layer.params:,}",
            f"{layer.macs / 1e6:,.1f}",
            f"{layer.weight_bytes / 1024:,.1f}",
            f"{layer.output_bytes / 1024:,.1f}",
        )
        for layer in table
    ]
    head = (
        "layer",
        "kind",
        "input",
        "output",
        "k/s",
        "activation",
        "params",
        "MMACs",
        "weights KiB",
        "output KiB",
    )
    sections.append(_table(head, body, numbers=(6, 7, 8, 9)))
    return "\n\n".join(sections)


def _conditions(figure: PublishedFigure) -> str:
    protocol = figure.protocol
    parts = [protocol.condition, protocol.data, protocol.device, protocol.runtime, protocol.precision]
    parts.append(f"batch {protocol.batch}" if protocol.batch else None)
    parts.append(f"{protocol.image_size} px" if protocol.image_size else None)
    parts.append(f"{protocol.epochs} epochs" if protocol.epochs else None)
    parts.append(f"{protocol.distillation}-distilled" if protocol.distillation == "self" else None)
    return ", ".join(part for part in parts if part)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Columns padded to their widest cell; those in `numbers` to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(head), "  ".join("-" * width for width in widths), *map(line, rows)])
