"""How well a model calibrated on 20 measured candidates estimates 40 others, on this machine's CPU.

Candidates are from the whole default space, fp32 and int8; the 20 are chosen as `calibrate` chooses them, the
40 are drawn at random and never seen by the fit. Every latency is kept in a JSON lines file as soon as it is
measured, so that an interrupted run continues; a disturbed one is measured again in the next run.

    python benchmarks/device_estimate.py --keep runs/device_estimate.jsonl
"""

import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from evaluators.artefact import untrained_artefact
from evaluators.estimate.case import Case
from evaluators.estimate.cpu_time import CpuTime
from evaluators.estimate.design import most_telling, pool_of
from evaluators.estimate.fit import Observation, fit
from evaluators.hardware import resolve_hardware
from evaluators.latency import Sampling, measure
from foundation.cli import json_option, print_json, progress, run
from yolov6space.candidate import Candidate
from yolov6space.space import Space

CLASSES = 80


def case_of(candidate: Candidate, image_size: int) -> Case:
    return Case(
        model=candidate.model, precision=candidate.precision, image_size=image_size, num_classes=CLASSES
    )


def measured(candidate: Candidate, image_size: int) -> dict[str, Any]:
    """Latency of the untrained network, as a line to keep."""
    with tempfile.TemporaryDirectory() as folder:
        artefact = untrained_artefact(
            candidate, num_classes=CLASSES, image_size=image_size, folder=Path(folder) / "artefact"
        )
        found = measure(artefact, resolve_hardware("cpu"), engines=2, sampling=Sampling(seconds=2.0))
    return {
        "key": candidate.key,
        "candidate": candidate.to_dict(),
        "image_size": image_size,
        "median_ms": found.median_ms,
        "low_ms": found.low_ms,
        "high_ms": found.high_ms,
        "disturbance": found.disturbance,
    }


def kept(path: Path) -> dict[str, dict[str, Any]]:
    """Lines by candidate, the last one of each."""
    known: dict[str, dict[str, Any]] = {}
    for line in map(json.loads, path.read_text().splitlines() if path.exists() else []):
        known[line["key"]] = better(known.get(line["key"]), line)
    return known


def better(first: dict[str, Any] | None, second: dict[str, Any]) -> dict[str, Any]:
    """The undisturbed one, else the faster: what disturbs only slows."""
    if first is None:
        return second
    return min(first, second, key=lambda line: (bool(line["disturbance"]), line["median_ms"]))


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), required=True, help="A JSON lines file.")
@click.option("--samples", default=20, show_default=True)
@click.option("--held-out", default=40, show_default=True)
@click.option("--image-size", default=320, show_default=True)
@click.option("--minutes", default=1e9, help="Measure at most so long, then tell what is known.")
@click.option("--again", is_flag=True, help="Measure those again whose last run was disturbed.")
@json_option
def device_estimate(
    keep: Path, samples: int, held_out: int, image_size: int, minutes: float, again: bool, as_json: bool
) -> None:
    """Calibrate on some candidates, judge on others."""
    space = Space.default()
    pool = pool_of(space, ("fp32", "int8"), seed=0)
    chosen = [pool[i] for i in most_telling(CpuTime(), [case_of(one, image_size) for one in pool], samples)]
    taken = {one.key for one in chosen}
    others = [one for one in pool_of(space, ("fp32", "int8"), seed=1) if one.key not in taken][:held_out]
    known = kept(keep)
    end = time.monotonic() + 60 * minutes
    # By turns, so that an unfinished run has both kinds.
    for number, candidate in enumerate(sorted([*chosen, *others], key=lambda one: one.key), start=1):
        line = known.get(candidate.key)
        if line is not None and not (again and line["disturbance"]):
            continue
        if time.monotonic() > end:
            break
        found = measured(candidate, image_size)
        known[candidate.key] = better(line, found)
        keep.parent.mkdir(parents=True, exist_ok=True)
        with keep.open("a") as file:
            file.write(json.dumps(found) + "\n")
        progress(f"{number}/{samples + held_out}: {found['median_ms']:.2f} ms {candidate.label}")

    def observations(candidates: list[Candidate]) -> list[Observation]:
        return [
            Observation(
                case=case_of(one, image_size),
                ms=known[one.key]["median_ms"],
                error=math.log(known[one.key]["high_ms"] / known[one.key]["low_ms"]) / (2 * 1.96),
                name=one.label,
            )
            for one in candidates
            if one.key in known
        ]

    report = judge(observations(chosen), observations(others))
    report["disturbed"] = sum(
        bool(known[one.key]["disturbance"]) for one in [*chosen, *others] if one.key in known
    )
    if as_json:
        print_json(report)
        return
    click.echo(
        f"{report['calibrated_on']} measured, {report['held_out']} held out ({report['disturbed']} of all disturbed): "
        f"mean error {report['mean_error']:.1%} (asked for: 8 %), worst {report['worst_error']:.1%}, Spearman "
        f"{report['spearman']:.3f} (asked for: 0.97), {report['within_interval']:.0%} within their 90 % interval"
    )


def judge(seen: list[Observation], unseen: list[Observation]) -> dict[str, Any]:
    """Fit to the seen, estimate the unseen."""
    from scipy.stats import spearmanr

    calibration = fit(CpuTime(), seen, robust=True)
    found = [calibration.estimate(one.case, source="benchmark") for one in unseen]
    errors = [abs(one.value_ms / row.ms - 1) for one, row in zip(found, unseen, strict=True)]
    held = [one.low_ms <= row.ms <= one.high_ms for one, row in zip(found, unseen, strict=True)]
    return {
        "calibrated_on": len(seen),
        "held_out": len(unseen),
        "mean_error": float(np.mean(errors)),
        "worst_error": float(np.max(errors)),
        "spearman": float(spearmanr([one.value_ms for one in found], [row.ms for row in unseen]).statistic),
        "within_interval": float(np.mean(held)),
        "constants": calibration.values,
        "rows": [[row.name, row.ms, one.value_ms] for row, one in zip(unseen, found, strict=True)],
    }


if __name__ == "__main__":
    run(device_estimate, "python benchmarks/device_estimate.py")
