"""`python -m search.qat`: fine-tune a trained network for int8 (quantization-aware training)."""

from __future__ import annotations

from typing import Any

import click

from evaluators.quantization.sensitivity import METRICS
from foundation import cli
from search.command_options import data_option, seed_option, train_batch_option
from search.options import QAT_DISTILLATIONS, QAT_EPOCHS, QAT_LR

EXAMPLES = """
\b
Examples:
  python -m search.qat n/network --data my_images/ --out n-int8
  python -m search.qat best --data my_images/ --epochs 5 --float-layers 6 --out best-int8
  python -m search.qat n/network --data my_images/ --distillation none --lr 1e-3 --out n-plain --json
"""


@click.command(epilog=EXAMPLES)
@click.argument("network", type=cli.PathOption())
@data_option
@click.option(
    "--out",
    required=True,
    type=cli.PathOption(file_okay=False),
    help="Folder of this fine-tuning.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1, 10_000),
    default=QAT_EPOCHS,
    show_default=True,
    help="Passes over the training images.",
)
@click.option(
    "--float-layers",
    type=click.IntRange(0, 256),
    help="Keep so many of the most sensitive layers in float (partial QAT). [default: as NETWORK has]",
)
@click.option(
    "--metric",
    type=click.Choice(tuple(METRICS)),
    help="What finds those layers. [default: that of NETWORK, else mse]",
)
@click.option(
    "--distillation",
    type=click.Choice(QAT_DISTILLATIONS),
    default="channel-wise",
    show_default=True,
    help="What the network in float teaches: nothing, the features of its neck, or scores and boxes too.",
)
@train_batch_option
@click.option("--lr", type=float, default=QAT_LR, show_default=True, help="Peak learning rate.")
@seed_option
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads. [default: all cores]")
@cli.json_option
def main(as_json: bool, **options: Any) -> None:
    """Fine-tune NETWORK, an artefact folder of search.train or search.export, with int8 in the loop.

    Writes an int8 artefact to OUT/network, judged on the val split through the engine that runs it, beside
    NETWORK in float. Run the same command again to go on after an interruption.
    """
    from search.fine_tuning import AskedQat, run_qat

    result = run_qat(AskedQat(**options))
    if as_json:
        cli.print_json(result)


if __name__ == "__main__":
    cli.run(main, "python -m search.qat")
