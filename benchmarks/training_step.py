"""Speed of a training step (forward, assignment, loss, backward, update), float32 and bf16 in turn.

    python benchmarks/training_step.py [--model YOLOv6-N] [--image-size 320] [--batch 16] [--rounds 5] [--json]

Prints images/s of both formats and the share of a step that assigner and losses take, their backward included.
Bars: bf16 at least 1.4 times float32 on a CPU with AVX512-BF16, assigner and losses at most 15 %.
"""

import statistics
import sys
import time
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.cli import json_option, print_json, run


@click.command(help=__doc__)
@click.option("--model", default="YOLOv6-N", show_default=True)
@click.option("--image-size", type=int, default=320, show_default=True)
@click.option("--batch", type=int, default=16, show_default=True)
@click.option("--classes", type=int, default=80, show_default=True)
@click.option("--rounds", type=int, default=5, show_default=True)
@click.option("--threads", type=int, default=2, show_default=True)
@json_option
def main(
    model: str, image_size: int, batch: int, classes: int, rounds: int, threads: int, as_json: bool
) -> None:
    import torch

    from search.training.attempts import process_settings
    from search.training.estimate import random_batch
    from search.training.options import TrainingOptions
    from search.training.schedule import Plan
    from search.training.step import Stepper
    from yolov6space.networks import HeadOutput, build
    from yolov6space.variants import get

    candidate = get(model)
    options = TrainingOptions(epochs=1, image_size=image_size, batch=batch, threads=threads)
    plan = Plan.of(candidate.model, options, images=batch * 1000)
    images = random_batch(classes, batch, image_size, torch.Generator().manual_seed(0))
    with process_settings(options):
        steppers = {
            name: Stepper.of(
                build(candidate.model, classes),
                candidate.recipe,
                plan,
                image_size=image_size,
                amp=amp,
                device=torch.device("cpu"),
            )
            for name, amp in (("f32", "off"), ("bf16", "bf16"))
        }
        seconds: dict[str, list[float]] = {name: [] for name in (*steppers, "loss")}
        at = plan.steps // 2  # past the warm-up: the recipe's own assigner
        for round_number in range(rounds + 1):
            for name, stepper in steppers.items():
                started = time.perf_counter()
                stepper.step(images, at)
                if round_number:  # the first round compiles kernels
                    seconds[name].append(time.perf_counter() - started)
            with torch.no_grad():
                output = steppers["bf16"].detector(images.images)
            leaf = HeadOutput(
                output.class_logits.detach().requires_grad_(),
                output.distances.detach().requires_grad_(),
                output.features,
            )
            started = time.perf_counter()
            steppers["bf16"].loss(leaf, images.truth).total.backward()
            if round_number:
                seconds["loss"].append(time.perf_counter() - started)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        "model": model,
        "image_size": image_size,
        "batch": batch,
        "classes": classes,
        "threads": threads,
        "objects": len(images.truth),
        "images_per_second": {name: batch / median[name] for name in steppers},
        "bf16_speedup": median["f32"] / median["bf16"],
        "loss_share": {name: median["loss"] / median[name] for name in steppers},
        "seconds": seconds,
    }
    if as_json:
        print_json(result)
        return
    speed, share = result["images_per_second"], result["loss_share"]
    click.echo(
        f"{model} {image_size} px batch {batch}, {classes} classes, {len(images.truth)} objects, {threads} threads: "
        f"f32 {speed['f32']:.1f}, bf16 {speed['bf16']:.1f} images/s ({result['bf16_speedup']:.2f}x); "
        f"assigner and losses {share['f32']:.1%} of a f32 step, {share['bf16']:.1%} of a bf16 step"
    )


if __name__ == "__main__":
    run(main, "python benchmarks/training_step.py")
