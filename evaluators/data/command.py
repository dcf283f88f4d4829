"""`python -m evaluators data`: what a person wants to know of a data set before training on it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundation.cli import LazyGroup, PathOption, json_option, print_json, progress

if TYPE_CHECKING:
    from evaluators.data.detection_data import DetectionData

EXAMPLES = """\b
Examples:
  python -m evaluators data check --data my_data
  python -m evaluators data check --data bundled --split val --sheet val.jpg
"""


@click.group(
    name="data",
    cls=LazyGroup,
    commands={
        "check": "evaluators.data.command:check_command",
        "convert": "evaluators.data.convert_command:convert_command",
    },
    epilog="Example: python -m evaluators data check --data my_data",
)
def data_command() -> None:
    """Look at detection data, and convert it."""


@click.command(name="check", short_help="Count what a data set holds, name what is wrong.", epilog=EXAMPLES)
@click.option("--data", "source", required=True, help="'bundled', a folder, or a .yaml file (docs/data.md).")
@click.option("--split", help="Only this split, for data that has no train or val.")
@click.option("--sheet", type=PathOption(), help="Draw a contact sheet of images with boxes here.")
@click.option(
    "--image-size",
    type=click.IntRange(min=32),
    default=640,
    show_default=True,
    help="Input size in pixels that small boxes are judged at.",
)
@click.option("--quick", is_flag=True, help="Do not decode every image.")
@json_option
def check_command(
    source: str, split: str | None, sheet: Path | None, image_size: int, quick: bool, as_json: bool
) -> None:
    """Read a data set, count what is in it, and name what is wrong with it.

    What keeps the data from being used ends with one line; the rest are warnings. Every image is decoded.
    """
    from evaluators.data.contact_sheet import check_sheet_name, contact_sheet, write_sheet
    from evaluators.data.findings import annotation_findings
    from evaluators.data.loading import load_data
    from evaluators.data.summary import summary

    if sheet:
        check_sheet_name(sheet)
    data = load_data(source, splits=(split,) if split else None)
    warnings = [*data.warnings, *annotation_findings(data, image_size)]
    if not quick:
        warnings += _pixels(data)
    if sheet:
        write_sheet(contact_sheet(next(iter(data.splits.values())), data.class_names), sheet)
        progress(f"wrote {sheet}")
    result: dict[str, Any] = {
        "name": data.name,
        "description": data.description,
        "fingerprint": data.fingerprint,
        "splits": {name: summary(part, data.class_names) for name, part in data.splits.items()},
        "images_decoded": not quick,
        "warnings": warnings,
    }
    if as_json:
        print_json(result)
    else:
        click.echo(_text(result))


def _pixels(data: "DetectionData") -> list[str]:
    from evaluators.data.findings import pixel_findings

    total = sum(len(part) for part in data.splits.values())
    bar: Any = click.progressbar(length=total, label="images", file=sys.stderr)
    with bar as shown:
        return pixel_findings(data, on_image=lambda: shown.update(1))


def _text(result: dict[str, Any]) -> str:
    from evaluators.data.summary import summary_lines

    lines = [f"{result['name']}: {result['description']} (fingerprint {result['fingerprint']})"]
    for name, part in result["splits"].items():
        lines += summary_lines(name, part)
    lines += [f"warning: {line}" for line in result["warnings"]] or ["no warnings"]
    return "\n".join(lines)
