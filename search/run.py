"""`python -m search.run`: search for the best detectors under a latency limit."""

from __future__ import annotations

from typing import Any

import click

from foundation import cli
from foundation.errors import WorkFailedError
from search.command_options import data_option, processes_per_trial_option, seed_option
from search.options import DEFAULT_TIME_BUDGET_S, FIXED_TRIALS, SearchOptions
from search.sampler import DEFAULT_SAMPLER, FOCUSES, SAMPLERS
from search.units import DURATION_S, LATENCY_MS

EXAMPLES = """
\b
Examples:
  python -m search.run --target-latency 8.8ms
  python -m search.run --target-latency 5ms --data my_images/ --time-budget 2h
  python -m search.run --target-latency 8.8ms --trials 20 --json > result.json
"""


@click.command(epilog=EXAMPLES)
@click.option("--target-latency", "target_ms", type=LATENCY_MS, required=True, help="Limit, such as 8.8ms.")
@click.option(
    "--hardware",
    default="auto",
    show_default=True,
    help="auto, cpu, t4 (estimated where there is none) or tensorrt.",
)
@data_option
@click.option(
    "--image-size",
    type=click.IntRange(32, 2048),
    help="Pixels, a multiple of 32. [default: 320 on a CPU, 640 for a T4]",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Batch of the deployed network.",
)
@click.option(
    "--trials", type=click.IntRange(min=1), help="Stop exploring after N trained candidates in the study."
)
@click.option(
    "--time-budget",
    "time_budget_s",
    type=DURATION_S,
    help=f"Time of this run, such as 30m. [default: {DEFAULT_TIME_BUDGET_S / 60:g}m; none with --trials]",
)
@click.option(
    "--epochs", type=click.IntRange(1, 1000), help="Of an exploring training. [default: by the time budget]"
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="Trainings at once. [default: all GPUs, else one per two cores]",
)
@processes_per_trial_option
@click.option("--ray-address", metavar="ADDR", help="Use a Ray cluster that is running.")
@cli.storage_option
@click.option("--study", metavar="NAME", help="[default: named after data, hardware, size and limit]")
@click.option("--resume", is_flag=True, help="Only continue a study that exists.")
@seed_option
@click.option("--sampler", type=click.Choice(SAMPLERS), default=DEFAULT_SAMPLER, show_default=True)
@click.option(
    "--focus",
    type=click.Choice(FOCUSES),
    default="target",
    show_default=True,
    help="Press on the best AP within the limit, or explore the whole front.",
)
@click.option("--space", metavar="FILE.yaml", help="Narrow or widen the design space.")
@click.option(
    "--fixed-trials",
    type=click.Choice(FIXED_TRIALS),
    default="official",
    show_default=True,
    help="Evaluate the official variants first.",
)
@click.option(
    "--warm-start",
    metavar="STUDY|published",
    help="Begin with what an older study in the same database knows (other limit, device, data or pixels), or with "
    "the paper's AP.",
)
@click.option(
    "--shared-training",
    "shared_training_s",
    type=DURATION_S,
    help="Train one network for so long, such as 10m, whose weights candidates inherit for a first look. [default: "
    "none]",
)
@cli.json_option
def main(as_json: bool, trials: int | None, time_budget_s: float | None, **options: Any) -> None:
    """Find, train, quantize and verify the best YOLOv6-family detectors within a latency limit.

    Run it again to continue: what is known is never evaluated twice. Ctrl-C ends it cleanly.
    """
    if time_budget_s is None and trials is None:
        time_budget_s = DEFAULT_TIME_BUDGET_S
    asked = SearchOptions(trials=trials, time_budget_s=time_budget_s, **options)

    from search.driver import run_search
    from search.report import print_report, result_json, write_plots

    result = run_search(asked)
    plots = write_plots(result)
    if as_json:
        cli.print_json(result_json(result, plots))
    else:
        print_report(result, plots)
    if not any(trial.feasible for trial in result.trials):
        raise WorkFailedError(
            f"no trained network within {asked.target_ms:g} ms yet: run again to search on, allow more time "
            "(--time-budget), a larger --target-latency, or a smaller --image-size"
        )


if __name__ == "__main__":
    cli.run(main, "python -m search.run")
