"""How good a network gets in a few minutes: train one candidate from scratch, judge it on a split.

    python benchmarks/bccd_training.py --data DIR [--minutes 3 | --epochs 48] [--image-size 192] [--seed 0]
    python benchmarks/bccd_training.py --data DIR --epochs 24 --out teacher
    python benchmarks/bccd_training.py --data DIR --epochs 8 --out taught-0 --teacher teacher

With --minutes the number of epochs is chosen from a few timed steps, so that training takes about that long.
With --out the same command goes on where it was killed, and a finished run is only printed. --teacher distils from
the network of such a folder. Prints AP and AP50 (conf 0.03, NMS IoU 0.65, 300 detections) and the loss as it went.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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
@click.option("--out", type=click.Path(path_type=Path), help="Keep weights, checkpoint and result here.")
@click.option("--teacher", type=click.Path(path_type=Path), help="--out of another run, to distil from.")
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
    out: Path | None,
    teacher: Path | None,
    as_json: bool,
) -> None:
    import dataclasses
    import json

    from evaluators.accuracy import TorchEngine, detect, evaluate
    from evaluators.data import load_data
    from search.training import (
        Teacher,
        TrainingOptions,
        TrainingProgress,
        load_detector,
        measure_pace,
        train,
    )
    from yolov6space.variants import get

    finished = None if out is None else out / "result.json"
    if finished is not None and finished.exists():
        told = json.loads(finished.read_text())
        print_json(told) if as_json else click.echo(_line(told))
        return
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
    length = None if out is None else out / "epochs"
    if epochs is None and length is not None and length.exists():
        epochs = int(length.read_text())
        options = dataclasses.replace(options, epochs=epochs)
    if epochs is None:
        pace = measure_pace(candidate, detection_data, options, 60 * minutes)
        progress(
            f"an epoch takes {pace.epoch:.2f} s, decoding and statistics {pace.once:.1f} s, "
            f"so {(epochs := pace.epochs_within(60 * minutes))} epochs"
        )
        options = dataclasses.replace(options, epochs=epochs)
    if length is not None:
        length.parent.mkdir(parents=True, exist_ok=True)
        length.write_text(str(epochs))
    taught = None
    if teacher is not None:
        known = json.loads((teacher / "result.json").read_text())
        taught = Teacher(get(known["model"]).model, teacher / "weights.safetensors")
    curve: list[TrainingProgress] = []

    def tell(now: TrainingProgress) -> None:
        if not curve or now.step - curve[-1].step >= now.steps / 20 or now.step == now.steps:
            curve.append(now)
            progress(now.line())

    started, computed = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="bccd-") as folder:
        trained = train(
            candidate, detection_data, options, folder=out or Path(folder), on_progress=tell, teacher=taught
        )
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
        "images_seen": trained.images_seen,
        "teacher": None if teacher is None else teacher.name,
        "retry": trained.retry,
        "split": split,
        "figures": figures,
        "loss": [{"step": each.step, "loss": each.loss, **each.parts} for each in curve],
    }
    if finished is not None:
        finished.write_text(json.dumps(result))
    print_json(result) if as_json else click.echo(_line(result))


def _line(result: dict[str, Any]) -> str:
    figures, taught = result["figures"], result["teacher"] and f" taught by {result['teacher']}"
    return (
        f"{result['model']}{taught or ''} {result['image_size']} px batch {result['batch']} seed {result['seed']}: "
        f"{result['epochs']} epochs, {result['steps']} steps, {result['seconds']:.0f} s "
        f"({result['cpu_seconds']:.0f} s of CPU); "
        f"{result['split']} AP {figures['AP']:.3f} AP50 {figures['AP50']:.3f} AP75 {figures['AP75']:.3f}"
    )


if __name__ == "__main__":
    run(main, "python benchmarks/bccd_training.py")
