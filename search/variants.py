"""`python -m search.variants`: the paper's official variants as fixed trials, without any search."""

from __future__ import annotations

from typing import Any

import click

from foundation import cli
from search.command_options import data_option, processes_per_trial_option, seed_option
from search.options import SearchOptions
from search.units import DURATION_S, LATENCY_MS

EXAMPLES = """
\b
Examples:
  python -m search.variants --target-latency 100ms --data my_images/
  python -m search.variants --target-latency 20ms --time-budget 1h --json
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--target-latency",
    "target_ms",
    type=LATENCY_MS,
    required=True,
    help="Variants over it are measured, not trained.",
)
@click.option(
    "--hardware",
    default="auto",
    show_default=True,
    help="auto, cpu, t4 (estimated where there is none) or tensorrt.",
)
@data_option
@click.option("--image-size", type=click.IntRange(32, 2048), help="[default: 320 on a CPU, 640 for a T4]")
@click.option("--batch", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--epochs", type=click.IntRange(1, 1000), help="[default: by the time budget]")
@click.option("--time-budget", "time_budget_s", type=DURATION_S, help="[default: none]")
@processes_per_trial_option
@cli.storage_option
@click.option("--study", metavar="NAME", help="[default: the same study as search.run's]")
@seed_option
@cli.json_option
def main(as_json: bool, **options: Any) -> None:
    """Train, quantize and measure N, T, S, M, L-ReLU and L here, and show the published figures beside them.

    The trials go into the study that `search.run` with the same data and limit would use.
    """
    from search.driver import run_search
    from search.report import print_report, result_json, write_plots

    result = run_search(SearchOptions(**options, only_fixed=True))
    plots = write_plots(result)
    if as_json:
        cli.print_json(result_json(result, plots))
    else:
        print_report(result, plots)


if __name__ == "__main__":
    cli.run(main, "python -m search.variants")
