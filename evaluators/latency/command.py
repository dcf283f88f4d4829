"""`python -m evaluators latency`."""

import dataclasses
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evaluators.latency.subject import artefact_of, candidate_of, require_as_built
from foundation.cli import PathOption, json_option, print_json, progress
from foundation.errors import UserError
from yolov6space.candidate import MAX_STRIDE, PRECISION_KINDS, Candidate

if TYPE_CHECKING:
    from evaluators.estimate.case import Case
    from evaluators.hardware import Hardware
    from evaluators.latency.records import Measurement

MAX_IMAGE_SIZE = 4096


def _finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("must be a finite number of seconds", ctx, param)
    return value


def _multiple_of_stride(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    if value is not None and value % MAX_STRIDE:
        raise click.BadParameter(f"{value} is not a multiple of {MAX_STRIDE}")
    return value


@click.command(
    "latency",
    epilog="""\b
Examples:
  python -m evaluators latency --model YOLOv6-N --hardware cpu --precision int8
  python -m evaluators latency --spec candidate.json --image-size 416 --seconds 10
  python -m evaluators latency --model YOLOv6-N --hardware onnxruntime:cpu --threads 1
  python -m evaluators latency --artefact runs/export/N --json
  python -m evaluators latency --model YOLOv6-S --hardware t4 --batch 32    # estimated where there is no T4
""",
)
@click.option("--model", "name", metavar="NAME", help="A named network, such as YOLOv6-N.")
@click.option("--spec", type=PathOption(), help="A candidate as JSON.")
@click.option("--artefact", "folder", type=PathOption(), help="A folder that was built before.")
@click.option(
    "--hardware",
    "hardware_name",
    default="auto",
    show_default=True,
    help="auto, cpu, t4, tensorrt, or BACKEND:DEVICE such as onnxruntime:cpu, openvino:gpu.",
)
@click.option(
    "--image-size",
    type=click.IntRange(MAX_STRIDE, MAX_IMAGE_SIZE),
    callback=_multiple_of_stride,
    help="Side of the square input in pixels. [default: 320 on a CPU, 640 for a T4]",
)
@click.option("--batch", type=click.IntRange(1, 1024), help="Images per pass. [default: 1]")
@click.option(
    "--precision",
    type=click.Choice(PRECISION_KINDS),
    help="Number format. [default: that of --spec, else fp32, fp16 on NVIDIA]",
)
@click.option("--classes", type=click.IntRange(1, 100_000), help="Classes of the detector. [default: 80]")
@click.option(
    "--threads",
    type=click.IntRange(1, os.cpu_count()),
    help="Of the engine. [default: one per physical core]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    callback=_finite,
    help="Sample every engine at most so long.",
)
@click.option(
    "--within",
    type=click.FloatRange(min=0, max=100),
    default=1.0,
    show_default=True,
    metavar="PERCENT",
    help="Stop before that once the interval of the median is so narrow to either side.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    callback=_finite,
    metavar="SECONDS",
    help="Wait at most so long, per engine, for a CPU that is slower than at its best. [default: twice --seconds]",
)
@click.option(
    "--engines",
    type=click.IntRange(1, 50),
    default=3,
    show_default=True,
    help="Open the network so often: one engine differs from the next.",
)
@click.option(
    "--tensorrt",
    "tensorrt",
    type=click.Choice(["7.2", "8.2", "8.4"]),
    help="Release that an estimate for a T4 is about. [default: 8.4]",
)
@click.option("--flush-l2", is_flag=True, help="TensorRT: overwrite the GPU's L2 cache before every pass.")
@click.option(
    "--gap-ms",
    type=click.FloatRange(0, 10_000),
    default=0.0,
    help="TensorRT: pause between passes. [default: 0]",
)
@json_option
def latency_command(
    name: str | None,
    spec: Path | None,
    folder: Path | None,
    hardware_name: str,
    threads: int | None,
    seconds: float,
    within: float,
    patience: float | None,
    engines: int,
    tensorrt: str | None,
    flush_l2: bool,
    gap_ms: float,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure the latency of a network on this machine, or estimate it for a T4 that is not here.

    Times one pass of the deployed graph, decoding included and NMS not, as the paper does. Of --model, --spec
    and --artefact give one; a network that is not built yet gets random weights with realistic statistics.
    """
    if sum(source is not None for source in (name, spec, folder)) != 1:
        raise UserError("give exactly one of --model, --spec and --artefact")
    from evaluators.hardware import check_precision, float_format, resolve_hardware

    hardware = resolve_hardware(hardware_name)
    progress(hardware.reason)
    if tensorrt is not None and not hardware.estimated:
        raise UserError(f"--tensorrt is about an estimate, and {hardware.name} is measured; leave it out")
    if flush_l2 or gap_ms:
        hardware = _paced(hardware, flush_l2, gap_ms)
    if folder is not None:
        candidate = None
    else:
        candidate = candidate_of(name, spec, given["precision"], float_format(hardware))
        check_precision(candidate.precision.kind, hardware)
    if hardware.estimated:
        _show_estimate(_case(candidate, folder, hardware, given, tensorrt), as_json)
        return
    with artefact_of(candidate, folder, hardware, given) as artefact:
        from evaluators.latency.isolated import measure_isolated
        from evaluators.latency.sampling import Sampling

        sampling = Sampling(seconds=seconds, within=within / 100, patience=patience)
        measurement = measure_isolated(
            artefact, hardware, threads=threads, sampling=sampling, engines=engines
        )
        if as_json:
            print_json(
                {
                    "candidate": artefact.candidate.key,
                    "trained": artefact.meta.trained,
                    **measurement.summary(),
                    "measurement": measurement.to_dict(),
                }
            )
        else:
            click.echo(describe(measurement))


def _paced(hardware: "Hardware", flush_l2: bool, gap_ms: float) -> "Hardware":
    from evaluators.devices import TENSORRT, Pacing

    if hardware.backend != TENSORRT:
        raise UserError(
            f"--flush-l2 and --gap-ms are for TensorRT, not for {hardware.backend}; leave them out"
        )
    return dataclasses.replace(hardware, pacing=Pacing(flush_l2=flush_l2, gap_s=gap_ms / 1e3))


def describe(measurement: "Measurement") -> str:
    """One line for a person; a second one when the run was disturbed."""
    m, load = measurement, measurement.workload
    line = (
        f"{m.median_ms:.3f} ms median ({m.low_ms:.3f} to {m.high_ms:.3f} with 95 % confidence), "
        f"p90 {m.p90_ms:.3f} ms, p99 {m.p99_ms:.3f} ms, {len(m.samples_ms)} samples of "
        f"{len(m.engine_medians_ms)} engines; measured with {load.backend} on {load.device} "
        f"({m.environment.get('cpu', 'unknown')}, {m.environment.get('threads', '?')} threads), "
        f"{load.precision}, {load.image_size} px, batch {load.batch}, without NMS"
    )
    if not m.disturbed:
        return line
    wait = ", or wait for calm: --patience 60" if load.device == "cpu" else ""
    return f"{line}\ndisturbed: {m.disturbance}; repeat on a quiet machine{wait}"


def _show_estimate(case: "Case", as_json: bool) -> None:
    from evaluators.estimate.t4 import estimate_t4

    estimate = estimate_t4(case)
    if as_json:
        workload = {
            "device": "Tesla T4",
            "image_size": case.image_size,
            "batch": case.batch,
            "precision": case.precision.label,
            "classes": case.num_classes,
        }
        told = {"origin": "estimated", "confidence": 0.9, **estimate.to_dict(), "workload": workload}
        print_json(told)
    else:
        click.echo(
            f"{estimate.value_ms:.3f} ms estimated, not measured ({estimate.low_ms:.3f} to "
            f"{estimate.high_ms:.3f} with 90 % confidence), {case.batch * 1e3 / estimate.value_ms:.0f} images/s; "
            f"{estimate.source}; {case.precision.label}, {case.image_size} px, batch {case.batch}, without NMS"
        )


def _case(
    candidate: Candidate | None,
    folder: Path | None,
    hardware: "Hardware",
    given: dict[str, Any],
    tensorrt: str | None,
) -> "Case":
    """What is to be estimated: of a candidate, or of a built artefact, whose weights do not matter."""
    from evaluators.estimate.case import Case

    runtime = "" if tensorrt is None else f"TensorRT {tensorrt}"
    if candidate is None:
        from evaluators.artefact import load_artefact

        artefact = load_artefact(folder or "")
        require_as_built(artefact, folder, given)
        meta, candidate = artefact.meta, artefact.candidate
        size, batch, classes = meta.image_size, meta.batch, len(meta.class_names)
    else:
        size = given["image_size"] or candidate.image_size or hardware.default_image_size
        batch, classes = given["batch"] or 1, given["classes"] or 80
    return Case(
        model=candidate.model,
        precision=candidate.precision,
        batch=batch,
        image_size=size,
        num_classes=classes,
        runtime=runtime,
    )
