"""Whether a network can learn eight images by heart: the whole of losses, assigners and schedule in one number.

    python benchmarks/overfit.py --data DIR [--model N --model S --model M-like] [--image-size 192] [--steps 600]

M-like is YOLOv6-M at half its width: CSPStackRep and DFL. Bar: AP50 on the same images at least 0.9 for each.

The pictures are not changed at random, as a network that sees each of them differently every time is not asked to
learn them by heart; --augment changes them as any short training does, to see what that costs. All else is
the recipe of a short run.
"""

import dataclasses
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.cli import json_option, print_json, progress, run

IMAGES = 8
SHORT = 40  # epochs: few enough for the recipe of a short run
MODELS = ("N", "S", "M-like")


@click.command(help=__doc__)
@click.option("--data", required=True, help="COCO-format folder; the first eight images of train are used.")
@click.option(
    "--model", "models", type=click.Choice(MODELS), multiple=True, default=MODELS, show_default=True
)
@click.option("--image-size", type=int, default=192, show_default=True)
@click.option("--steps", type=int, default=600, show_default=True)
@click.option("--batch", type=int, default=8, show_default=True)
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--augment", is_flag=True, help="Change the pictures as in any short training.")
@json_option
def main(
    data: str,
    models: tuple[str, ...],
    image_size: int,
    steps: int,
    batch: int,
    threads: int,
    augment: bool,
    as_json: bool,
) -> None:
    from evaluators.accuracy import TorchEngine, judge
    from evaluators.data import load_data
    from search.training import TrainingOptions, load_detector, train
    from search.training.data.augment import Augmentation
    from search.training.schedule import Plan
    from yolov6space.candidate import Candidate
    from yolov6space.variants import TWO_THIRDS, get, scaled_model

    candidates = {
        "N": get("N"),
        "S": get("S"),
        "M-like": Candidate(
            model=scaled_model(width=0.375, depth=0.6, csp=TWO_THIRDS), recipe=get("M").recipe
        ),
    }
    whole = load_data(data)
    split = whole.split("train")
    chosen = [index for index in range(len(split)) if len(split.boxes[index])][:IMAGES]
    # Repeated, so that it is a short run by its epochs: those are trained without mosaic.
    repeats = max(1, round(steps * batch / (SHORT * IMAGES)))
    few = dataclasses.replace(whole, splits={"train": split.subset(chosen * repeats)})
    unchanged = Augmentation(hue=0, saturation=0, value=0, scale=0, translate=0, flip=0, mosaic=0)
    results = {}
    for name in models:
        options = TrainingOptions(
            epochs=max(1, round(steps * batch / (IMAGES * repeats))),
            image_size=image_size,
            batch=batch,
            threads=threads,
        )
        pictures = (
            nullcontext() if augment else patch.object(Plan, "augmentation_at", lambda plan, step: unchanged)
        )
        with tempfile.TemporaryDirectory(prefix="overfit-") as folder, pictures:
            trained = train(
                candidates[name],
                few,
                options,
                folder=Path(folder),
                on_progress=lambda now: None if now.step % 50 else progress(now.line()),
            )
            detector = load_detector(candidates[name].model, len(whole.class_names), trained.weights)
        figures = judge(
            TorchEngine(detector, 1), split.subset(chosen), image_size=image_size
        ).figures.to_dict()
        results[name] = {
            "AP": figures["AP"],
            "AP50": figures["AP50"],
            "steps": trained.steps,
            "seconds": trained.seconds,
            "losses": dict(trained.losses),
        }
        if not as_json:
            click.echo(
                f"{name} {image_size} px: AP50 {figures['AP50']:.3f} AP {figures['AP']:.3f} on {IMAGES} images after "
                f"{trained.steps} steps, {trained.seconds:.0f} s"
            )
    if as_json:
        print_json(results)


if __name__ == "__main__":
    run(main, "python benchmarks/overfit.py")
