"""`python -m evaluators calibrate`."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from foundation.cli import json_option, print_json, progress
from foundation.errors import UserError, WorkFailedError
from foundation.scratch import Scratch
from yolov6space.candidate import MAX_STRIDE

if TYPE_CHECKING:
    from evaluators.estimate.calibration_file import Measured
    from evaluators.latency import Measurement
    from yolov6space.candidate import Candidate


@click.command(
    "calibrate",
    epilog="""\b
Examples:
  python -m evaluators calibrate --hardware cpu --samples 20
  python -m evaluators calibrate --image-size 416 --space mine.yaml
""",
)
@click.option(
    "--hardware", "hardware_name", default="auto", show_default=True, help="auto, cpu, or BACKEND:DEVICE."
)
@click.option("--samples", type=click.IntRange(8, 1000), default=20, show_default=True, help="To measure.")
@click.option(
    "--image-size",
    type=click.IntRange(MAX_STRIDE, 2048),
    help="Side of the square input in pixels. [default: 320 on a CPU]",
)
@click.option("--batch", type=click.IntRange(1, 256), default=1, show_default=True, help="Images per pass.")
@click.option("--classes", type=click.IntRange(1, 100_000), default=80, show_default=True)
@click.option(
    "--space", metavar="FILE.yaml", help="Space to spread the samples over. [default: the whole one]"
)
@click.option(
    "--seconds", type=click.FloatRange(0.05, 60), default=3.0, show_default=True, help="Per engine."
)
@click.option("--engines", type=click.IntRange(1, 20), default=2, show_default=True, help="Per candidate.")
@json_option
def calibrate_command(
    hardware_name: str,
    samples: int,
    image_size: int | None,
    batch: int,
    classes: int,
    space: str | None,
    seconds: float,
    engines: int,
    as_json: bool,
) -> None:
    """Measure a handful of candidates, so that all others can be estimated on this device.

    The measurements are kept in the user's cache folder and a search on this device uses them to skip what is
    hopeless. Run it again to continue, to measure disturbed ones again, or with more --samples.
    """
    from evaluators.artefact import untrained_artefact
    from evaluators.estimate.calibration_file import path_for
    from evaluators.estimate.cpu_time import CpuTime
    from evaluators.estimate.design import space_of
    from evaluators.estimate.device import MIN_SAMPLES, calibrate, cross_validate, samples_for
    from evaluators.estimate.fit import fit
    from evaluators.hardware import float_format, resolve_hardware, supported_precisions
    from evaluators.latency.isolated import measure_isolated
    from evaluators.latency.sampling import Sampling

    hardware = resolve_hardware(hardware_name)
    progress(hardware.reason)
    if hardware.estimated:
        raise UserError(
            f"{hardware.device} is not here: its estimates are calibrated on published speeds already; "
            "--hardware cpu calibrates this machine"
        )
    size = image_size or hardware.default_image_size
    if size % MAX_STRIDE:
        raise UserError(f"--image-size {size}: must be a multiple of {MAX_STRIDE}")
    chosen = samples_for(
        space_of(space, hardware),
        supported_precisions(hardware),
        samples,
        image_size=size,
        batch=batch,
        classes=classes,
    )

    def measured(candidate: "Candidate") -> "Measurement":
        with Scratch("calibrate") as folder:
            artefact = untrained_artefact(
                candidate,
                num_classes=classes,
                image_size=size,
                batch=batch,
                folder=folder / "artefact",
                float_format=float_format(hardware),
            )
            return measure_isolated(artefact, hardware, sampling=Sampling(seconds=seconds), engines=engines)

    def told(number: int, candidate: "Candidate", found: "Measured") -> None:
        doubt = f" (disturbed: {found.disturbance})" if found.disturbance else ""
        progress(f"{number}/{len(chosen)}: {found.median_ms:.2f} ms {candidate.label}{doubt}")

    def failed(number: int, candidate: "Candidate", reason: str) -> None:
        progress(f"{number}/{len(chosen)}: left out: {candidate.label}: {reason}")

    known = calibrate(
        hardware,
        chosen,
        measured,
        image_size=size,
        batch=batch,
        classes=classes,
        on_measured=told,
        on_failed=failed,
    )
    if len(known.measured) < MIN_SAMPLES:
        raise WorkFailedError(
            f"only {len(known.measured)} candidates could be measured, and an estimate needs {MIN_SAMPLES}; "
            "what was measured is kept: run it again, or with more --samples"
        )
    checked = cross_validate(known.observations)
    disturbed = sum(one.disturbance is not None for one in known.measured)
    path = path_for(known.device)
    if as_json:
        constants = fit(CpuTime(), known.observations, robust=True).values
        print_json(
            {
                "device": known.device,
                "file": str(path),
                "cross_validation": asdict(checked),
                "disturbed": disturbed,
                "constants": constants,
            }
        )
        return
    click.echo(
        f"{checked.samples} candidates measured on {known.device['cpu']} ({disturbed} disturbed); left out one by "
        f"one they are estimated with a mean error of {checked.mean_error:.1%}, worst {checked.worst_error:.1%}, "
        f"Spearman {checked.spearman:.3f}, {checked.within_interval:.0%} within the 90 % interval\nkept in {path}"
    )
    if disturbed:
        click.echo("run it again on a quiet machine: the disturbed ones are then measured again")
