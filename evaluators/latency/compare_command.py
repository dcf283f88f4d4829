"""`python -m evaluators compare`."""

import os
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evaluators.latency.subject import artefact_of, candidate_of
from foundation.cli import json_option, print_json, progress
from foundation.errors import UserError
from yolov6space.candidate import MAX_STRIDE, PRECISION_KINDS

if TYPE_CHECKING:
    from evaluators.artefact import Artefact
    from evaluators.hardware import Hardware
    from evaluators.latency.comparison import Comparison


@click.command(
    "compare",
    epilog="""\b
Examples:
  python -m evaluators compare YOLOv6-N YOLOv6-T --precision int8
  python -m evaluators compare candidate.json runs/export/N --rounds 15 --json
""",
)
@click.argument("first")
@click.argument("second")
@click.option(
    "--hardware", "hardware_name", default="auto", show_default=True, help="auto, cpu, or BACKEND:DEVICE."
)
@click.option(
    "--image-size",
    type=click.IntRange(MAX_STRIDE, 4096),
    help="Side of the square input in pixels. [default: 320 on a CPU]",
)
@click.option("--batch", type=click.IntRange(1, 1024), help="Images per pass. [default: 1]")
@click.option(
    "--precision",
    type=click.Choice(PRECISION_KINDS),
    help="[default: that of a spec, else the device's float format]",
)
@click.option("--classes", type=click.IntRange(1, 100_000), help="Classes of the detector. [default: 80]")
@click.option(
    "--threads",
    type=click.IntRange(1, os.cpu_count()),
    help="Of the engines. [default: one per physical core]",
)
@click.option(
    "--rounds", type=click.IntRange(6, 1000), default=11, show_default=True, help="New engines in each."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.01, 60),
    default=0.5,
    show_default=True,
    help="Of a turn; four a round.",
)
@json_option
def compare_command(
    first: str,
    second: str,
    hardware_name: str,
    threads: int | None,
    rounds: int,
    seconds: float,
    as_json: bool,
    **given: Any,
) -> None:
    """Which of two networks is faster on this machine.

    FIRST and SECOND are each a named network, a candidate as JSON, or the folder of an artefact. They are
    timed by turns, with new engines in every round. The answer is wrong in at most 5 % of comparisons of
    equally fast networks; it may also be that the rounds do not tell.
    """
    from evaluators.hardware import resolve_hardware
    from evaluators.latency.comparison import compare_rounds
    from evaluators.latency.isolated import alternate_isolated

    hardware = resolve_hardware(hardware_name)
    progress(hardware.reason)
    if hardware.estimated:
        raise UserError(f"a comparison is measured, and {hardware.device} is not here; use --hardware cpu")
    if given["image_size"] and given["image_size"] % MAX_STRIDE:
        raise UserError(f"--image-size {given['image_size']}: must be a multiple of {MAX_STRIDE}")
    subjects = [_subject(text, hardware, given) for text in (first, second)]
    with ExitStack() as stack:
        both = [stack.enter_context(subject) for subject in subjects]
        times = alternate_isolated(both, hardware, threads=threads, rounds=rounds, seconds=seconds)
    found = compare_rounds(*times)
    if as_json:
        print_json(_as_json(found, first, second))
    else:
        click.echo(describe(found, first, second))


def describe(found: "Comparison", first: str, second: str) -> str:
    """One line for a person."""
    names = {"first": first, "second": second}
    verdict = "no difference was found" if found.faster is None else f"{names[found.faster]} is faster"
    return (
        f"{verdict}: {second} takes {found.ratio:.3f} times as long as {first} ({found.low:.3f} to "
        f"{found.high:.3f} with 95 % confidence), {len(found.first_ms)} rounds, p = {found.p_value:.3f} "
        "(Wilcoxon; a faster one is named where p is at most 0.05)"
    )


def _as_json(found: "Comparison", first: str, second: str) -> dict[str, Any]:
    return {
        "first": first,
        "second": second,
        "faster": found.faster,
        "ratio": found.ratio,
        "low": found.low,
        "high": found.high,
        "p_value": found.p_value,
        "first_ms": list(found.first_ms),
        "second_ms": list(found.second_ms),
    }


def _subject(text: str, hardware: "Hardware", given: dict[str, Any]) -> "AbstractContextManager[Artefact]":
    """A folder is an artefact, a file a candidate, anything else a name."""
    from evaluators.hardware import float_format

    path = Path(text)
    if path.is_dir():
        return artefact_of(None, path, hardware, given)
    name, spec = (None, path) if path.is_file() else (text, None)
    return artefact_of(
        candidate_of(name, spec, given["precision"], float_format(hardware)), None, hardware, given
    )
