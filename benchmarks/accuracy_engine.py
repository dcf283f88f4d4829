"""Time outside inference, agreement of the artefact with PyTorch, and what early verdicts save and risk.

    python benchmarks/accuracy_engine.py --data DIR [--artefact TRAINED --artefact-data DATA] [--json]

1. YOLOv6-S at 640 pixels through OpenVINO on the val split of DIR: the share of the time that is not inference,
   from the first image to the last figure. Once with random weights as they are and once with a class bias that
   makes every image keep 300 boxes.
2. AP of a trained fp32 artefact minus that of its PyTorch network.
3. With the detections of that artefact: how often the 99 % interval of AP over a stratified part misses the AP of
   the whole split, and how many images a verdict takes against an AP that is so much higher.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.cli import json_option, print_json, progress, run
from foundation.errors import UserError

SIZE = 640
BUSY_BIAS = -3.2  # of the class scores: 0.04 on average
MARGINS = (0.05, 0.1, 0.2)


def outside_inference(data_source: str, bias: float | None) -> dict[str, Any]:
    import torch

    from evaluators.accuracy import judge
    from evaluators.artefact import build_artefact
    from evaluators.data import load_data
    from evaluators.latency import open_engine, resolve_hardware
    from yolov6space.candidate import Precision
    from yolov6space.networks import build, realistic_statistics
    from yolov6space.variants import get

    data = load_data(data_source, splits=("val",))
    candidate = replace(get("YOLOv6-S"), precision=Precision(kind="fp32"))
    torch.manual_seed(0)
    detector = realistic_statistics(build(candidate.model, len(data.class_names)), 0)
    if bias is not None:
        for name, parameter in detector.named_parameters():
            if name.endswith("cls_pred.bias"):
                torch.nn.init.constant_(parameter, bias)
    with tempfile.TemporaryDirectory() as folder:
        artefact = build_artefact(
            candidate, detector, class_names=data.class_names, image_size=SIZE, folder=Path(folder) / "s"
        )
        with open_engine(artefact, resolve_hardware("cpu")) as engine:
            engine.infer(np.zeros((1, 3, SIZE, SIZE), dtype=np.float32))
            start = time.perf_counter()
            found = judge(engine, data.split("val"), image_size=SIZE)
            total = time.perf_counter() - start
    return {
        "images": found.images,
        "detections": found.detections,
        "seconds": total,
        "inference_seconds": found.inference_seconds,
        "outside_share": 1 - found.inference_seconds / total,
    }


def agreement(folder: Path, source: str) -> dict[str, Any]:
    from evaluators.accuracy.agreement import agreements
    from evaluators.accuracy.backends import resolve_backend
    from evaluators.accuracy.of_artefact import judge_artefact, load_split
    from evaluators.accuracy.protocol import PAPER
    from evaluators.artefact import load_artefact

    artefact = load_artefact(folder)
    data, part = load_split(artefact, source, "val")
    figures = {
        name: judge_artefact(artefact, data, part, resolve_backend(name), protocol=PAPER).figures
        for name in ("pytorch", "cpu")
    }
    (pair,) = agreements(figures)
    return {"precision": artefact.meta.precision, "AP": figures["cpu"].AP, **pair.to_dict()}


def early_verdicts(folder: Path, source: str, orders: int) -> dict[str, Any]:
    """Over `orders` stratified orders of the images: misses of the interval, and images until a verdict."""
    from evaluators.accuracy import detect, evaluate, ground_truth_of
    from evaluators.accuracy.backends import open_backend
    from evaluators.accuracy.interval import ap_interval
    from evaluators.accuracy.judge import FEWEST, LOOKS, VERDICT_CONFIDENCE
    from evaluators.accuracy.matches import match_images
    from evaluators.accuracy.of_artefact import load_split
    from evaluators.accuracy.stratified import stratified_order
    from evaluators.artefact import load_artefact

    artefact = load_artefact(folder)
    _, part = load_split(artefact, source, "val")
    with open_backend(artefact, "cpu") as engine:
        found = detect(engine, part, image_size=artefact.meta.image_size)
    truth = ground_truth_of(part)
    whole = evaluate(truth, found).AP
    matches = match_images(truth, found, [image.id for image in part.images])
    sizes = [count for share in LOOKS if (count := max(FEWEST, round(share * len(part)))) < len(part)]
    high = np.array(
        [
            [
                bound.high if (bound := ap_interval(mine, confidence=VERDICT_CONFIDENCE)) else np.inf
                for mine in ([matches[i] for i in order[:count]] for count in sizes)
            ]
            for order in (stratified_order(part, seed) for seed in range(orders))
        ]
    )
    images = {}
    for margin in MARGINS:
        ended = high < whole + margin
        taken = np.where(ended.any(axis=1), np.array(sizes)[ended.argmax(axis=1)], len(part))
        images[f"{margin:g}"] = float(taken.mean())
    return {
        "AP": whole,
        "of_images": len(part),
        "looks": sizes,
        "orders": orders,
        "wrong_share": float((high < whole).any(axis=1).mean()),
        "mean_images_by_margin": images,
    }


@click.command()
@click.option("--data", required=True, help="Data in COCO layout with a val split.")
@click.option("--artefact", type=click.Path(path_type=Path), help="A trained fp32 artefact.")
@click.option("--artefact-data", help="The data it was trained on.")
@click.option("--orders", default=40, show_default=True, help="Orders of the images for early verdicts.")
@json_option
def main(data: str, artefact: Path | None, artefact_data: str | None, orders: int, as_json: bool) -> None:
    """Print the bars of accuracy through an engine."""
    if (artefact is None) != (artefact_data is None):
        raise UserError("give --artefact and --artefact-data together")
    result: dict[str, Any] = {}
    for name, bias in (("as initialised", None), ("busy", BUSY_BIAS)):
        progress(f"YOLOv6-S, {name} ...")
        result[name] = outside_inference(data, bias)
    if artefact and artefact_data:
        result["agreement"] = agreement(artefact, artefact_data)
        result["early"] = early_verdicts(artefact, artefact_data, orders)
    if as_json:
        print_json(result)
        return
    for name in ("as initialised", "busy"):
        one = result[name]
        click.echo(
            f"YOLOv6-S {name}: {one['images']} images, {one['detections']} detections in {one['seconds']:.1f} s, "
            f"{100 * one['outside_share']:.1f} % outside inference"
        )
    if artefact:
        pair, early = result["agreement"], result["early"]
        click.echo(
            f"{pair['precision']} artefact: AP {pair['AP']:.4f}, {pair['ap_difference']:+.1e} from PyTorch; "
            f"largest of the twelve figures {pair['largest']:.1e} ({pair['largest_of']})"
        )
        click.echo(f"early verdicts: {100 * early['wrong_share']:.1f} % of {orders} orders below the true AP")
        for margin, images in early["mean_images_by_margin"].items():
            click.echo(f"  against an AP higher by {margin}: {images:.0f} of {early['of_images']} images")


if __name__ == "__main__":
    run(main, "python benchmarks/accuracy_engine.py")
