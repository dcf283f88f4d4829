"""How well a search foretells latencies of this machine's CPU, by what it has measured so far.

    python benchmarks/foretold_latency.py --keep runs/foretold.jsonl [--held-out 40]

Measures the official variants and candidates drawn at random from the default space (those that are estimated far
over --most by FLOPs are passed over), untrained, fp32 and int8, and keeps each as a line of a file: an interrupted
run continues. Then foretells those that were held out from the variants and the first few of the others, by the
physics of a device (`search.samplers.foretold`) and by figures alone (`search.samplers.latency`), and prints the
relative error of both.
"""

import json
import random
import tempfile
from pathlib import Path

import click
import numpy as np

from evaluators.artefact import untrained_artefact
from evaluators.hardware import resolve_hardware
from evaluators.latency import Sampling, measure
from foundation.cli import progress, run
from search.driver import fixed_trials
from search.observing import quietly
from search.samplers.features import features
from search.samplers.foretold import ByPhysics
from search.samplers.latency import latency_belief
from search.samplers.model import Belief
from search.samplers.space_source import SpaceSource
from yolov6space.candidate import Candidate
from yolov6space.cost import cost
from yolov6space.space import Space

CLASSES = 3
LEARNT_FROM = (0, 4, 10, 20)  # random candidates beside the variants


def measured_ms(candidate: Candidate, image_size: int, threads: int) -> float:
    """Of the untrained network, through one engine."""
    with tempfile.TemporaryDirectory() as folder:
        artefact = untrained_artefact(
            candidate, num_classes=CLASSES, image_size=image_size, folder=Path(folder) / "artefact"
        )
        sampling = Sampling(seconds=1.0)
        return measure(
            artefact, resolve_hardware("cpu"), engines=1, sampling=sampling, threads=threads
        ).median_ms


def drawn(count: int, image_size: int, most_gflops: float) -> list[Candidate]:
    """At random, none of more work than that in fp32, or three times as much in int8."""
    space, rng = Space.default(), random.Random(0)
    found: dict[str, Candidate] = {}
    while len(found) < count:
        one = space.sample(rng)
        gflops = cost(one.model, num_classes=CLASSES, image_size=image_size).flops / 1e9
        if gflops <= most_gflops * (3.0 if one.precision.kind == "int8" else 1.0):
            found.setdefault(one.key, one)
    return list(found.values())


@click.command(help=__doc__)
@click.option("--keep", type=click.Path(path_type=Path), required=True, help="A JSON lines file.")
@click.option("--held-out", default=40, show_default=True)
@click.option("--image-size", default=320, show_default=True)
@click.option("--most-gflops", default=3.0, show_default=True, help="Of a candidate that is drawn, in fp32.")
@click.option("--threads", default=2, show_default=True)
def foretold_latency(keep: Path, held_out: int, image_size: int, most_gflops: float, threads: int) -> None:
    """Measure, then compare what is foretold."""
    variants = [candidate for _, candidate in fixed_trials()]
    others = drawn(max(LEARNT_FROM) + held_out, image_size, most_gflops)
    lines = map(json.loads, keep.read_text().splitlines() if keep.exists() else [])
    known = {line["key"]: float(line["ms"]) for line in lines}
    keep.parent.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate([*variants, *others], start=1):
        if one.key in known:
            continue
        known[one.key] = measured_ms(one, image_size, threads)
        with keep.open("a") as file:
            file.write(json.dumps({"key": one.key, "ms": known[one.key]}) + "\n")
        progress(f"{number}/{len(variants) + len(others)}: {known[one.key]:.2f} ms {one.label}")
    told = {one.key: known[one.key] for one in [*variants, *others]}
    source = SpaceSource(Space.default(), num_classes=CLASSES, image_size=image_size)
    for count in LEARNT_FROM:
        seen, unseen = [*variants, *others[:count]], others[max(LEARNT_FROM) :]
        by_physics = ByPhysics(CLASSES, image_size)(unseen, [(one, told[one.key]) for one in seen])
        assert by_physics is not None
        truth = np.log([told[one.key] for one in unseen])
        click.echo(
            f"{len(variants)} variants and {count} others known: {_said('physics', by_physics, truth)}; "
            f"{_said('figures', _by_figures(source, seen, unseen, told), truth)}"
        )


def _by_figures(
    source: SpaceSource, seen: list[Candidate], unseen: list[Candidate], told: dict[str, float]
) -> Belief:
    params = [source.params_of(one) for one in [*seen, *unseen]]
    figures = source.figures(params)
    measured = np.array([told[one.key] for one in seen] + [np.nan] * len(unseen))
    with quietly():
        belief = latency_belief(features(params, figures, source.choices), figures, None, 0.0, measured)
    assert belief is not None
    return Belief(belief.mean[len(seen) :], belief.deviation[len(seen) :])


def _said(name: str, belief: Belief, truth: np.ndarray) -> str:
    off = belief.mean - truth
    within = np.abs(off) <= 1.645 * belief.deviation
    return f"{name} {np.mean(np.abs(off)):.1%} off (worst {np.max(np.abs(off)):.0%}), {np.mean(within):.0%} within 90 %"


if __name__ == "__main__":
    run(foretold_latency, "python benchmarks/foretold_latency.py")
