"""`python -m search.train`: train one network on your images, without a search."""

from __future__ import annotations

from typing import Any

import click

from foundation import cli
from search.command_options import data_option, seed_option, train_batch_option

EXAMPLES = """
\b
Examples:
  python -m search.train N --data my_images/ --out n
  python -m search.train YOLOv6-S --data my_images/ --epochs 100 --image-size 416 --out s
  python -m search.train --spec candidate.json --data bundled --minutes 5 --out mine --json
  python -m search.train N --data my_images/ --teacher s/network --out n-taught
  python -m search.train L --data my_images/ --epochs 300 --batch 64 --processes 4 --out l
  python -m search.train N --data my_images/ --init n/network/weights.safetensors --epochs 20 --out n-longer
"""


@click.command(epilog=EXAMPLES)
@click.argument("name", required=False)
@click.option("--spec", type=cli.PathOption(), help="A candidate in JSON instead of a name.")
@data_option
@click.option("--out", required=True, type=cli.PathOption(file_okay=False), help="Folder of this training.")
@click.option("--epochs", type=click.IntRange(1, 10_000), help="Passes over the training images.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="About how long to train, instead of --epochs; judging and deployment come after. [default: 30]",
)
@click.option(
    "--image-size",
    type=click.IntRange(32, 2048),
    help="Pixels, a multiple of 32. [default: that of --spec, else 320 on a CPU]",
)
@train_batch_option
@click.option(
    "--precision",
    type=click.Choice(("fp32", "bf16", "int8")),
    help="Of the deployed network. [default: that of --spec, else fp32]",
)
@click.option("--init", "init", type=cli.PathOption(), metavar="WEIGHTS", help="Start from these weights.")
@click.option(
    "--teacher",
    metavar="none|self|DIR",
    help="Distil from the network itself, trained first, or from an artefact folder. [default: as the recipe says]",
)
@click.option("--lr", type=float, help="Peak learning rate. [default: by the length of the training]")
@seed_option
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="CPU threads of each process. [default: all cores, shared out]",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Share every batch among so many processes of this machine, a GPU each where there are any.",
)
@click.option(
    "--compile",
    "compile_network",
    is_flag=True,
    help="Train through torch.compile; NVIDIA GPUs only.",
)
@click.option(
    "--judge-every",
    type=click.IntRange(min=0),
    metavar="EPOCHS",
    help="Look at val AP on the way; 0 for never. [default: up to four times]",
)
@click.option(
    "--tensorboard", is_flag=True, help="Write OUT/tensorboard too (needs the tensorboard package)."
)
@cli.json_option
def main(as_json: bool, **options: Any) -> None:
    """Train the network NAME (or --spec), judge it on the val split, and write it to OUT/network.

    Run the same command again to go on after an interruption. OUT/network is an artefact folder like those of a
    search (spec, weights, ONNX), OUT/predictions.jpg shows what it finds. `python -m yolov6space list` shows the names.
    """
    from search.single import run_single
    from search.single_options import SingleTraining

    result = run_single(SingleTraining.of(**options))
    if as_json:
        cli.print_json(result)


if __name__ == "__main__":
    cli.run(main, "python -m search.train")
