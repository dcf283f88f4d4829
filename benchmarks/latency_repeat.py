"""How well latency repeats: one artefact, measured several times, each time in a new process.

Prints every median, and how many pairs of medians agree within 3 % (the bar: 90 % of the pairs, on a quiet
machine). With --neighbour a process keeps every core busy meanwhile, and every run ought to be called disturbed.

    python benchmarks/latency_repeat.py --model YOLOv6-N --precision int8 --times 10
    python benchmarks/latency_repeat.py --model YOLOv6-N --threads 1
    python benchmarks/latency_repeat.py --model YOLOv6-N --times 4 --neighbour
"""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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
@click.option("--seconds", default=3.0, show_default=True, help="Of sampling every engine.")
@click.option("--engines", default=3, show_default=True, help="Opened in each process.")
@click.option("--patience", type=float, help="Seconds to wait for a calm processor, per engine.")
@click.option(
    "--threads",
    type=click.IntRange(1, os.cpu_count()),
    help="Of the engine. [default: one per physical core]",
)
@click.option("--neighbour", is_flag=True, help="Keep the machine busy meanwhile.")
@json_option
def latency_repeat(
    model: str,
    precision: str,
    image_size: int,
    times: int,
    seconds: float,
    engines: int,
    patience: float | None,
    threads: int | None,
    neighbour: bool,
    as_json: bool,
) -> None:
    """Measure one artefact several times, each time in a new process."""
    candidate = dataclasses.replace(get(model), precision=Precision.of(precision))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "artefact"
        untrained_artefact(candidate, num_classes=80, image_size=image_size, folder=folder)
        runs = []
        with _busy_neighbour() if neighbour else nullcontext():
            for number in range(times):
                runs.append(_measure(folder, seconds, engines, patience, threads))
                progress(
                    f"{number + 1}/{times}: {runs[-1]['median_ms']:.3f} ms "
                    f"({runs[-1]['disturbance'] or 'quiet'})"
                )
    medians = [result["median_ms"] for result in runs]
    differences = _differences(medians)
    quiet = _differences([result["median_ms"] for result in runs if not result["disturbed"]])
    report = {
        "model": model,
        "precision": precision,
        "image_size": image_size,
        "engines": engines,
        "patience": patience,
        "threads": runs[0]["measurement"]["environment"]["threads"],
        "medians_ms": medians,
        "disturbed": sum(result["disturbed"] for result in runs),
        "largest_difference": max(differences),
        "median_difference": float(np.median(differences)),
        "pairs_within_3_percent": _agreeing(differences),
        "quiet_pairs": len(quiet),
        "quiet_pairs_within_3_percent": _agreeing(quiet),
        "left_out_passes": [result["left_out_passes"] for result in runs],
    }
    if as_json:
        print_json(report)
        return
    click.echo(
        f"{model} {precision}, {image_size} px, {report['threads']} threads, {engines} engines of {seconds:g} s"
    )
    click.echo(f"medians: {' '.join(f'{median:.3f}' for median in medians)} ms")
    click.echo(
        f"{report['pairs_within_3_percent']:.0%} of {len(differences)} pairs agree within {AGREE:.0%}; "
        f"differences: median {report['median_difference']:.1%}, largest {report['largest_difference']:.1%}; "
        f"{report['disturbed']} of {times} runs disturbed"
    )
    if quiet:
        click.echo(f"of the runs called quiet: {_agreeing(quiet):.0%} of {len(quiet)} pairs")
    click.echo(f"passes left out because the processor was slow: {report['left_out_passes']}")


def _differences(medians: list[float]) -> list[float]:
    return [abs(a - b) / min(a, b) for a, b in itertools.combinations(medians, 2)]


def _agreeing(differences: list[float]) -> float | None:
    return float(np.mean([difference <= AGREE for difference in differences])) if differences else None


@contextmanager
def _busy_neighbour() -> Iterator[None]:
    """A process per core that does nothing but count."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _measure(
    folder: Path, seconds: float, engines: int, patience: float | None, threads: int | None
) -> dict[str, Any]:
    command = [sys.executable, "-m", "evaluators", "latency", "--artefact", str(folder)]
    options = ["--hardware", "cpu", "--seconds", str(seconds), "--engines", str(engines), "--json"]
    if patience is not None:
        options += ["--patience", str(patience)]
    if threads is not None:
        options += ["--threads", str(threads)]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    run(latency_repeat, "python benchmarks/latency_repeat.py")
