"""Options that several commands share."""

import click

from search.options import DEFAULT_TRAIN_BATCH

data_option = click.option(
    "--data",
    default="bundled",
    show_default=True,
    metavar="bundled|DIR|FILE.yaml",
    help="COCO layout (images/SPLIT, annotations/instances_SPLIT.json) or a YAML that names the parts.",
)
train_batch_option = click.option(
    "--batch",
    type=click.IntRange(1, 1024),
    default=DEFAULT_TRAIN_BATCH,
    show_default=True,
    help="Images per training step.",
)
processes_per_trial_option = click.option(
    "--processes-per-trial",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that share each training, with a GPU each where there are GPUs.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True
)  # as far as NumPy's seeds go
