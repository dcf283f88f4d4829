"""How much faster COCO AP is here than with pycocotools, on a made-up case of COCO val's size.

    python benchmarks/coco_ap.py [--images 5000] [--boxes 36000] [--detections 500000] [--json]

Both judge the same detections in the same run, one after the other; the figures must be equal. The memory is what
judging adds at most to that of the process, whose detections are already there; both are watched alike.
"""

import contextlib
import copy
import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluators.accuracy import evaluate
from foundation.cli import json_option, print_json, progress, run

CLASSES = 80
SIZE = 640.0


def make_case(
    images: int, boxes: int, detections: int, seed: int = 0
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth with sizes, crowds and few classes per image as in COCO, and jittered detections of it."""
    rng = np.random.default_rng(seed)
    owner = np.sort(rng.integers(images, size=boxes))
    own_classes = rng.integers(CLASSES, size=(images, 3))
    label = own_classes[owner, rng.integers(3, size=boxes)]
    extent = np.exp(rng.uniform(np.log(8), np.log(400), (boxes, 2)))
    corner = rng.uniform(0, 1, (boxes, 2)) * (SIZE - extent)
    truth = np.concatenate([corner, extent], axis=1)
    crowd = rng.random(boxes) < 0.01
    # Two thirds of the detections lie about a box, the rest anywhere; classes are often confused.
    source = rng.integers(boxes, size=detections)
    shift = rng.normal(0, 0.15, (detections, 4)) * np.tile(extent[source], 2)
    guess = truth[source] + shift
    stray = rng.random(detections) < 1 / 3
    guess[stray, :2] = rng.uniform(0, SIZE, (int(stray.sum()), 2))
    guess[:, 2:] = np.maximum(guess[:, 2:], 1.0)
    guess_label = np.where(
        rng.random(detections) < 0.7, label[source], rng.integers(CLASSES, size=detections)
    )
    score = np.round(rng.random(detections), 4)  # four digits make ties
    document = {
        "images": [
            {"id": i + 1, "file_name": f"{i}.jpg", "width": 640, "height": 640} for i in range(images)
        ],
        "categories": [{"id": c + 1, "name": f"class {c}"} for c in range(CLASSES)],
        "annotations": [
            {
                "id": i + 1,
                "image_id": int(owner[i]) + 1,
                "category_id": int(label[i]) + 1,
                "bbox": truth[i].tolist(),
                "area": float(truth[i, 2] * truth[i, 3] * 0.6),
                "iscrowd": int(crowd[i]),
            }
            for i in range(boxes)
        ],
    }
    results = [
        {
            "image_id": int(owner[source[i]]) + 1,
            "category_id": int(guess_label[i]) + 1,
            "bbox": guess[i].tolist(),
            "score": float(score[i]),
        }
        for i in range(detections)
    ]
    return document, results


def with_pycocotools(document: dict[str, Any], results: list[dict[str, Any]]) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = document
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


@contextlib.contextmanager
def peak_memory() -> Iterator[list[float]]:
    """The list holds, after the block, by how many MiB the resident memory grew at most."""
    process, ended = psutil.Process(os.getpid()), threading.Event()
    before = highest = process.memory_info().rss
    grown: list[float] = []

    def watch() -> None:
        nonlocal highest
        while not ended.wait(0.02):
            highest = max(highest, process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield grown
    finally:
        ended.set()
        watching.join()
        grown.append((highest - before) / 2**20)


@click.command()
@click.option("--images", default=5_000, show_default=True)
@click.option("--boxes", default=36_000, show_default=True)
@click.option("--detections", default=500_000, show_default=True)
@json_option
def main(images: int, boxes: int, detections: int, as_json: bool) -> None:
    """Time COCO AP against pycocotools in one run."""
    document, results = make_case(images, boxes, detections)
    progress(f"{images} images, {boxes} boxes, {detections} detections")
    start = time.perf_counter()
    with peak_memory() as memory:
        ours = evaluate(document, results).stats
    fast_seconds = time.perf_counter() - start
    progress(f"evaluators.accuracy: {fast_seconds:.1f} s; pycocotools is running")
    copied = copy.deepcopy(document), copy.deepcopy(results)  # pycocotools writes into both
    start = time.perf_counter()
    with peak_memory() as reference_memory:
        reference = with_pycocotools(*copied)
    reference_seconds = time.perf_counter() - start
    result = {
        "seconds": fast_seconds,
        "pycocotools_seconds": reference_seconds,
        "times_faster": reference_seconds / fast_seconds,
        "peak_mib": memory[0],
        "pycocotools_peak_mib": reference_memory[0],
        "largest_difference": float(np.abs(np.array(ours) - reference).max()),
        "AP": ours[0],
    }
    if as_json:
        print_json(result)
    else:
        click.echo(
            f"{fast_seconds:.1f} s against {reference_seconds:.1f} s of pycocotools: "
            f"{result['times_faster']:.1f} times faster; "
            f"{memory[0]:.0f} MiB more memory against {reference_memory[0]:.0f} MiB; "
            f"largest difference of the twelve figures {result['largest_difference']:.1e}"
        )


if __name__ == "__main__":
    run(main, "python benchmarks/coco_ap.py")
