"""How well latency repeats: one artefact, measured several times, each time in a new process.

Prints every median, and how many pairs of medians agree within 3 % (the bar: 90 % of the pairs, on a quiet
machine).

    python benchmarks/latency_repeat.py --model YOLOv6-N --precision int8 --times 10
"""

import dataclasses
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from evaluators.artefact import untrained_artefact
from foundation.cli import json_option, print_json, progress, run
from yolov6space.candidate import Precision
from yolov6space.variants import get

AGREE = 0.03


@click.command()
@click.option("--model", default="YOLOv6-N", show_default=True)
@click.option("--precision", type=click.Choice(["fp32", "bf16", "int8"]), default="fp32", show_default=True)
@click.option("--image-size", default=320, show_default=True)
@click.option("--times", type=click.IntRange(2), default=10, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="Of sampling in each process.")
@json_option
def latency_repeat(
    model: str, precision: str, image_size: int, times: int, seconds: float, as_json: bool
) -> None:
    """Measure one artefact several times, each time in a new process."""
    int8 = {"scheme": "ptq", "float_layers": 0} if precision == "int8" else {}
    candidate = dataclasses.replace(get(model), precision=Precision(kind=precision, **int8))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "artefact"
        untrained_artefact(candidate, num_classes=80, image_size=image_size, folder=folder)
        runs = []
        for number in range(times):
            runs.append(_measure(folder, seconds))
            progress(
                f"{number + 1}/{times}: {runs[-1]['median_ms']:.3f} ms ({runs[-1]['disturbance'] or 'quiet'})"
            )
    medians = [result["median_ms"] for result in runs]
    differences = [abs(a - b) / min(a, b) for a, b in itertools.combinations(medians, 2)]
    report = {
        "model": model,
        "precision": precision,
        "image_size": image_size,
        "medians_ms": medians,
        "disturbed": sum(result["disturbed"] for result in runs),
        "largest_difference": max(differences),
        "median_difference": float(np.median(differences)),
        "pairs_within_3_percent": float(np.mean([difference <= AGREE for difference in differences])),
    }
    if as_json:
        print_json(report)
        return
    click.echo(f"medians: {' '.join(f'{median:.3f}' for median in medians)} ms")
    click.echo(
        f"{report['pairs_within_3_percent']:.0%} of {len(differences)} pairs agree within {AGREE:.0%}; "
        f"differences: median {report['median_difference']:.1%}, largest {report['largest_difference']:.1%}; "
        f"{report['disturbed']} of {times} runs disturbed"
    )


def _measure(folder: Path, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "evaluators", "latency", "--artefact", str(folder)]
    options = ["--hardware", "cpu", "--seconds", str(seconds), "--json"]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    run(latency_repeat, "python benchmarks/latency_repeat.py")
