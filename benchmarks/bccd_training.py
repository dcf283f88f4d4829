"""How good a network gets in a few minutes: train one candidate from scratch, judge it on a split.

    python benchmarks/bccd_training.py --data DIR [--minutes 3 | --epochs 48] [--image-size 192] [--seed 0]

With --minutes the number of epochs is chosen from a few timed steps, so that training takes about that long.
Prints AP and AP50 (conf 0.03, NMS IoU 0.65, 300 detections) and the loss as it went.
"""

import sys
import tempfile
import time
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.cli import json_option, print_json, progress, run


@click.command(help=__doc__)
@click.option("--data", required=True, help="COCO-format folder with splits train and val.")
@click.option("--model", default="YOLOv6-N", show_default=True, help="Official variant or ablation network.")
@click.option("--minutes", type=float, default=3.0, show_default=True, help="Wall time of training.")
@click.option("--epochs", type=int, help="Fixed length instead of --minutes.")
@click.option("--image-size", type=int, default=192, show_default=True)
@click.option("--batch", type=int, default=16, show_default=True)
@click.option("--lr", type=float, help="Peak learning rate instead of the plan's own.")
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--amp", default="auto", show_default=True)
@click.option("--split", default="val", show_default=True, help="Split to judge on.")
@json_option
def main(
    data: str,
    model: str,
    minutes: float,
    epochs: int | None,
    image_size: int,
    batch: int,
    lr: float | None,
    threads: int,
    seed: int,
    amp: str,
    split: str,
    as_json: bool,
) -> None:
    import dataclasses

    from evaluators.accuracy import TorchEngine, detect, evaluate
    from evaluators.data import load_data
    from search.training import (
        TrainingOptions,
        TrainingProgress,
        epochs_within,
        load_detector,
        train,
    )
    from yolov6space.variants import get

    candidate, detection_data = get(model), load_data(data)
    classes = len(detection_data.class_names)
    options = TrainingOptions(
        epochs=epochs or 1,
        image_size=image_size,
        batch=batch,
        seed=seed,
        lr=lr,
        threads=threads,
        amp=amp,
    )
    if epochs is None:
        images = len(detection_data.split("train"))
        epochs = epochs_within(60 * minutes, candidate, classes, options, images)
        options = dataclasses.replace(options, epochs=epochs)
    curve: list[TrainingProgress] = []

    def tell(now: TrainingProgress) -> None:
        if not curve or now.step - curve[-1].step >= now.steps / 20 or now.step == now.steps:
            curve.append(now)
            progress(now.line())

    started, computed = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="bccd-") as folder:
        trained = train(candidate, detection_data, options, folder=Path(folder), on_progress=tell)
        wall, cpu = time.perf_counter() - started, time.process_time() - computed
        detector = load_detector(candidate.model, classes, trained.weights)
    judged = detection_data.split(split)
    figures = evaluate(
        judged.annotations, detect(TorchEngine(detector, 1), judged, image_size=image_size)
    ).to_dict()
    result = {
        "model": model,
        "image_size": image_size,
        "batch": batch,
        "seed": seed,
        "epochs": epochs,
        "steps": trained.steps,
        "seconds": wall,
        "cpu_seconds": cpu,
        "split": split,
        "figures": figures,
        "loss": [{"step": each.step, "loss": each.loss, **each.parts} for each in curve],
    }
    if as_json:
        print_json(result)
        return
    click.echo(
        f"{model} {image_size} px batch {batch} seed {seed}: {epochs} epochs, {trained.steps} steps, {wall:.0f} s "
        f"({cpu:.0f} s of CPU), {trained.images_seen / wall:.1f} images/s; "
        f"{split} AP {figures['AP']:.3f} AP50 {figures['AP50']:.3f} AP75 {figures['AP75']:.3f}"
    )


if __name__ == "__main__":
    run(main, "python benchmarks/bccd_training.py")
