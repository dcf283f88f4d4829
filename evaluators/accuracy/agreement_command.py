"""`python -m evaluators agreement`: AP of one artefact in PyTorch and on several back ends, and how they differ."""

from pathlib import Path
from typing import Any

import click

from foundation.cli import PathOption, json_option, print_json, progress
from foundation.errors import UserError, WorkFailedError

EXAMPLES = """\b
Examples:
  python -m evaluators agreement --artefact best --data my_data
  python -m evaluators agreement --artefact best --data bundled --hardware pytorch --hardware cpu --tolerance 0.001
"""
# What float32 may differ by between two implementations, on a trained network.
FLOAT_TOLERANCE = 1e-3


@click.command(name="agreement", short_help="AP of an artefact on several back ends.", epilog=EXAMPLES)
@click.option("--artefact", required=True, type=PathOption(), help="Folder of an artefact.")
@click.option(
    "--data", required=True, help="'bundled', a folder in COCO layout, or a .yaml file (docs/data.md)."
)
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="val", show_default=True)
@click.option(
    "--hardware",
    multiple=True,
    default=("pytorch", "auto"),
    show_default=True,
    help="Back ends, the reference first; give it several times.",
)
@click.option("--protocol", default="paper", show_default=True, help="As of the accuracy command.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="Largest difference in AP allowed. [default: 0.001 for fp32, none for other precisions]",
)
@json_option
def agreement_command(
    artefact: Path,
    data: str,
    split: str,
    hardware: tuple[str, ...],
    protocol: str,
    limit: int | None,
    tolerance: float | None,
    as_json: bool,
) -> None:
    """COCO AP of one artefact in PyTorch and through engines: every pair is compared.

    PyTorch runs the float32 network that the artefact was made from. A difference in AP above the tolerance ends
    with exit code 1.
    """
    from evaluators.accuracy.agreement import agreements
    from evaluators.accuracy.backends import caveat, precision_judged, resolve_backend
    from evaluators.accuracy.of_artefact import judge_artefact, load_split
    from evaluators.accuracy.protocol import protocol_named
    from evaluators.artefact import load_artefact

    rules = protocol_named(protocol)
    built = load_artefact(artefact)
    backends = {one.name: one for one in (resolve_backend(name) for name in hardware)}
    if len(backends) < 2:
        raise UserError("nothing to compare: name at least two different back ends with --hardware")
    source, part = load_split(built, data, split)
    judged = {
        name: judge_artefact(built, source, part, backend, protocol=rules, limit=limit)
        for name, backend in backends.items()
    }
    pairs = agreements({name: one.figures for name, one in judged.items()})
    if tolerance is None and built.meta.precision == "fp32":
        tolerance = FLOAT_TOLERANCE
    worst = max((abs(pair.ap_difference or 0.0) for pair in pairs), default=0.0)
    result: dict[str, Any] = {
        "artefact": built.hash,
        "precision": built.meta.precision,
        "data": {"name": source.name, "fingerprint": source.fingerprint},
        "backends": {
            name: {
                "backend": backends[name].backend,
                "precision": precision_judged(built, backends[name]),
                "caveat": caveat(built, backends[name]),
                **one.to_dict(),
            }
            for name, one in judged.items()
        },
        "differences": [pair.to_dict() for pair in pairs],
        "tolerance": tolerance,
        "agree": None if tolerance is None else worst <= tolerance,
    }
    if as_json:
        print_json(result)
    else:
        click.echo(_text(result))
    if result["agree"] is False:
        raise WorkFailedError(f"AP differs by {worst:.4f}, more than {tolerance:g}")
    if tolerance is None:
        progress(f"{built.meta.precision} changes AP by itself: reported, not judged (--tolerance judges)")


def _text(result: dict[str, Any]) -> str:
    lines = []
    for name, one in result["backends"].items():
        ap = one["figures"]["AP"]
        shown = "undefined" if ap is None else f"{100 * ap:.3f}"
        lines.append(f"{name} ({one['backend']}, {one['precision']}): AP {shown}, {one['images']} images")
    for pair in result["differences"]:
        gap = pair["ap_difference"]
        shown = "undefined" if gap is None else f"{100 * gap:+.4f}"
        lines.append(
            f"{pair['other']} - {pair['reference']}: AP {shown}; "
            f"largest of the twelve figures {100 * pair['largest']:.4f} ({pair['largest_of']})"
        )
    return "\n".join(lines)
