"""`python -m evaluators compile`."""

from pathlib import Path
from typing import Any

import click

from foundation.cli import PathOption, json_option, print_json, progress
from foundation.errors import UserError
from foundation.scratch import Scratch
from yolov6space.candidate import MAX_STRIDE, PRECISION_KINDS, Candidate, Precision

DEFAULT_IMAGE_SIZE = 640
LIBRARIES = ("tensorrt_rtx", "tensorrt")


@click.command(
    "compile",
    epilog="""\b
Examples:
  python -m evaluators compile --model YOLOv6-S --precision fp16 --compute-capability 7.5
  python -m evaluators compile --model YOLOv6-N --precision int8 --float-layers 6 --json
  python -m evaluators compile --artefact runs/export/N --compute-capability 8.6
""",
)
@click.option("--artefact", "folder", type=PathOption(), help="A folder that was built before.")
@click.option(
    "--model", "name", metavar="NAME", help="A named network, such as YOLOv6-N, with untrained weights."
)
@click.option("--spec", type=PathOption(), help="A candidate as JSON, with untrained weights.")
@click.option(
    "--compute-capability",
    "capability",
    default="7.5",
    show_default=True,
    help="Of the GPU; 7.5 is a Tesla T4.",
)
@click.option(
    "--library",
    type=click.Choice(LIBRARIES),
    default=LIBRARIES[0],
    show_default=True,
    help="NVIDIA's compiler.",
)
@click.option(
    "--precision", type=click.Choice(PRECISION_KINDS), help="Number format. [default: fp16, or the spec's]"
)
@click.option("--float-layers", type=click.IntRange(0), help="Layers of int8 that stay fp16. [default: 0]")
@click.option("--image-size", type=click.IntRange(MAX_STRIDE, 4096), help="Pixels, square. [default: 640]")
@click.option("--batch", type=click.IntRange(1, 1024), help="Images per pass. [default: 1]")
@click.option("--classes", type=click.IntRange(1, 100_000), help="Classes of the detector. [default: 80]")
@click.option(
    "--optimization-level", type=click.IntRange(0, 5), default=3, show_default=True, help="Of the builder."
)
@click.option(
    "--workspace", type=click.IntRange(1), default=1024, show_default=True, help="MiB a layer may take."
)
@click.option(
    "--timeout", type=click.FloatRange(1), default=900.0, show_default=True, help="Seconds for the build."
)
@json_option
def compile_command(
    folder: Path | None,
    name: str | None,
    spec: Path | None,
    capability: str,
    library: str,
    optimization_level: int,
    workspace: int,
    timeout: float,
    as_json: bool,
    **given: Any,
) -> None:
    """Let NVIDIA's compiler build a network; TensorRT-RTX needs no GPU for it.

    Shows whether a network is accepted for a compute capability. It says nothing about latency.
    """
    if sum(source is not None for source in (folder, name, spec)) != 1:
        raise UserError("give exactly one of --artefact, --model and --spec")
    from evaluators.tensorrt.compile_check import compile_artefact
    from evaluators.tensorrt.library import find_library, require_capability, require_own_capability

    compiler = find_library(library)
    require_capability(compiler, capability)  # before anything is built
    require_own_capability(compiler, capability)
    with Scratch("compile") as temporary:
        if folder is None:
            folder = _untrained(_candidate(name, spec, given), given, temporary / "artefact")
        elif any(given[option] is not None for option in given):
            raise UserError(
                "--artefact says what it is: leave --precision, --image-size, --batch and so on out"
            )
        record = compile_artefact(
            folder,
            capability=capability,
            library=library,
            optimization_level=optimization_level,
            workspace_mib=workspace,
            timeout_s=timeout,
        )
    if as_json:
        print_json(record)
    else:
        click.echo(describe(record))


def describe(record: dict[str, Any]) -> str:
    """A line or two for a person."""
    line = (
        f"{record['library']} {record['version']} builds {record['precision']} "
        f"(candidate {record['candidate']}) for compute capability {record['options']['compute_capability']}: "
        f"{record['size_bytes'] / 2**20:.1f} MiB in {record['build_seconds']:.1f} s"
    )
    precisions = record["precisions"]
    if precisions is None:
        return f"{line}\n{record['note']}"
    return f"{line}\nconvolutions asked {precisions['asked']}, real {precisions['real']}"


def _candidate(name: str | None, spec: Path | None, given: dict[str, Any]) -> Candidate:
    import dataclasses

    from yolov6space.describe import read_candidate

    if name is not None:
        from yolov6space.variants import get

        candidate, kind = get(name), given["precision"] or "fp16"
    else:
        assert spec is not None
        candidate = read_candidate(spec)
        kind = given["precision"] or candidate.precision.kind
        if kind == candidate.precision.kind and given["float_layers"] is None:
            return candidate
    return dataclasses.replace(candidate, precision=_precision(kind, given["float_layers"]))


def _precision(kind: str, float_layers: int | None) -> Precision:
    if kind == "bf16":
        raise UserError("precision bf16 needs compute capability 8.0 and is not built for NVIDIA; use fp16")
    if kind != "int8":
        if float_layers:
            raise UserError(f"--float-layers belongs to --precision int8, not to {kind}")
        return Precision(kind=kind)
    layers = float_layers or 0
    return Precision(kind="int8", scheme="ptq", float_layers=layers, metric="mse" if layers else None)


def _untrained(candidate: Candidate, given: dict[str, Any], folder: Path) -> Path:
    from evaluators.artefact import untrained_artefact

    size = given["image_size"] or candidate.image_size or DEFAULT_IMAGE_SIZE
    if size % MAX_STRIDE:
        raise UserError(f"--image-size {size} is not a multiple of {MAX_STRIDE}")
    progress(f"building {candidate.precision.label} at {size} px with untrained weights ...")
    return untrained_artefact(
        candidate,
        num_classes=given["classes"] or 80,
        image_size=size,
        batch=given["batch"] or 1,
        folder=folder,
        float_format="fp16",
    ).folder
