"""`python -m search.benchmark`: how well samplers search a table of known results."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from foundation import cli
from foundation.errors import UserError
from search.sampler import BASELINE_NAMES, DEFAULT_SAMPLER, FOCUSES

if TYPE_CHECKING:
    from search.benchmarking.play import Task
    from search.benchmarking.summary import Line

EXAMPLES = """
\b
Examples:
  python -m search.benchmark --table nb201.csv --maximize accuracy --minimize latency_ms \\
      --limit latency_ms=5.64 --cheap latency_ms,params_m --budget 50 --seeds 10
  python -m search.benchmark ... --cheap latency_ms --cheap-noise 5% --baselines none
  python -m search.benchmark ... --low-fidelity accuracy_12_epochs=0.05 --plot curve.png
"""


class Percentage(click.ParamType):
    """`5%` or 0.05, from 0 to 1."""

    name = "percentage"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share as a number."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", str(value).strip())
        if match is None or (share := float(match[1]) / (100 if match[2] else 1)) > 1:
            self.fail(f"{value!r}: write it like 5%", param, ctx)
        return share


class Assignment(click.ParamType):
    """`NAME=NUMBER`."""

    name = "assignment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name and the number."""
        if isinstance(value, tuple):
            return value
        name, _, number = str(value).rpartition("=")
        try:
            return name.strip(), float(number)
        except ValueError:
            self.fail(f"{value!r}: write it like COLUMN=6.0", param, ctx)


@click.command(epilog=EXAMPLES)
@click.option(
    "--table",
    type=cli.PathOption(),
    required=True,
    help="CSV: parameters in columns p_*, results in others; one row per candidate.",
)
@click.option(
    "--maximize", required=True, metavar="COLUMN", help="What is dear to evaluate, such as accuracy."
)
@click.option("--minimize", required=True, metavar="COLUMN", help="The latency.")
@click.option(
    "--limit", type=Assignment(), required=True, metavar="COLUMN=NUMBER", help="Limit of the latency."
)
@click.option("--cheap", default="", metavar="COLUMNS", help="Known before evaluation, separated by commas.")
@click.option(
    "--cheap-noise",
    type=Percentage(),
    default=0.0,
    help="Simulated error of what is known before, such as 5%.",
)
@click.option(
    "--low-fidelity",
    type=Assignment(),
    multiple=True,
    metavar="COLUMN=COST",
    help="Results of a cheaper kind of evaluation and its cost, such as short=0.05; may be repeated.",
)
@click.option("--budget", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Evaluations.")
@click.option(
    "--seeds", type=click.IntRange(1, 1000), default=10, show_default=True, help="Searches per sampler."
)
@click.option(
    "--sampler",
    type=click.Choice([DEFAULT_SAMPLER, *BASELINE_NAMES]),
    default=DEFAULT_SAMPLER,
    show_default=True,
)
@click.option(
    "--baselines",
    default="all",
    show_default=True,
    metavar="all|none|NAMES",
    help=f"Compare with these under the same rules: {', '.join(BASELINE_NAMES)}.",
)
@click.option("--focus", type=click.Choice(FOCUSES), default="target", show_default=True)
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Searches at once.")
@click.option("--plot", type=cli.PathOption(), help="Draw hypervolume against evaluations (PNG).")
@cli.json_option
def main(as_json: bool, **asked: Any) -> None:
    """Let samplers search a table whose results are known, and compare what they find with the truth.

    Hypervolume is the area between front and the corner (limit, worst result of the table), as a share of that
    of the true front. All figures are means over the seeds.
    """
    plot = asked["plot"]
    if plot is not None and plot.is_dir():
        raise UserError(f"--plot {plot}: is a folder; name a file in it, such as {plot / 'samplers.png'}")
    names = _samplers(asked["sampler"], asked["baselines"])
    task, facts = _task(asked)

    from search.benchmarking.summary import lines_of, play_all

    if plot is not None:  # before the searches, which may take long
        plot.parent.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []
    curves: dict[str, list[list[int]]] = {}
    for name in names:
        plays = play_all(
            task,
            name,
            range(asked["seeds"]),
            asked["budget"],
            jobs=asked["jobs"],
            told=partial(_tell, name, asked["seeds"]),
        )
        lines += lines_of(task, name, plays, asked["budget"])
        curves[name] = [one.rows for one in plays]
    if plot is not None:
        from search.benchmarking.drawing import draw_curves

        draw_curves(task, curves, plot)
    if as_json:
        cli.print_json({**facts, "results": [line.to_dict() for line in lines]})
    else:
        _print(lines, facts)


def _tell(name: str, seeds: int, done: int) -> None:
    cli.progress(f"{name}: {done} of {seeds} searches")


def _samplers(chosen: str, baselines: str) -> list[str]:
    wanted = {"all": list(BASELINE_NAMES), "none": []}.get(
        baselines, [name.strip() for name in baselines.split(",")]
    )
    unknown = [name for name in wanted if name not in BASELINE_NAMES]
    if unknown:
        raise UserError(
            f"--baselines {', '.join(unknown)}: choose all, none, or of {', '.join(BASELINE_NAMES)}"
        )
    return list(dict.fromkeys([chosen, *wanted]))


def _task(asked: dict[str, Any]) -> tuple[Task, dict[str, Any]]:
    from search.benchmarking.play import Task
    from search.benchmarking.score import Yardstick
    from search.benchmarking.table import read_table

    table = read_table(asked["table"])
    value = table.column(asked["maximize"], "--maximize")
    latency = table.column(asked["minimize"], "--minimize")
    name, limit = asked["limit"]
    if name != asked["minimize"]:
        raise UserError(f"--limit {name}: limits are of what --minimize names, {asked['minimize']}")
    if not math.isfinite(limit):
        raise UserError(f"--limit {name}={limit:g}: a limit is a finite number; greatest {latency.max():g}")
    if asked["maximize"] == asked["minimize"]:
        raise UserError(f"--maximize {name}: the same column as --minimize")
    within = int((latency <= limit).sum())
    if not within:
        raise UserError(
            f"--limit {name}={limit:g}: nothing in the table is within it; least {latency.min():g}"
        )
    if latency.min() <= 0:
        raise UserError(f"--minimize {name}: must be above 0 everywhere")
    cheap = [column.strip() for column in asked["cheap"].split(",") if column.strip()]
    if asked["maximize"] in cheap:
        raise UserError(f"--cheap {asked['maximize']}: nothing is left to find out when --maximize is known")
    low = sorted(asked["low_fidelity"], key=lambda pair: pair[1])
    if any(not 0 < cost < 1 for _, cost in low):
        raise UserError("--low-fidelity: the cost is relative to a full evaluation, between 0 and 1")
    task = Task(
        table=table,
        value=value,
        latency=latency,
        latency_name=asked["minimize"],
        limit=limit,
        cheap={column: table.column(column, "--cheap") for column in cheap},
        cheap_noise=asked["cheap_noise"],
        low=tuple((table.column(column, "--low-fidelity"), cost) for column, cost in low),
        focus=asked["focus"],
    )
    measure = Yardstick(value, latency, limit)
    facts = {
        "table": table.name,
        "rows": len(table.params),
        "within_limit": within,
        "limit": {name: limit},
        "best_within_limit": measure.best,
        "reference_point": {asked["maximize"]: measure.floor, name: limit},
        "seeds": asked["seeds"],
        "cheap": cheap,
        "cheap_noise": asked["cheap_noise"],
        "low_fidelity": dict(low),
    }
    return task, facts


def _print(lines: list[Line], facts: dict[str, Any]) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console() if sys.stdout.isatty() else Console(width=150)
    console.print(
        f"{facts['table']}: {facts['rows']} candidates, {facts['within_limit']} within the limit, the best "
        f"{facts['best_within_limit']:g}; means of {facts['seeds']} seeds",
        highlight=False,
    )
    shown = RichTable()
    shown.add_column("sampler")
    for title in (
        "evaluations",
        "hypervolume",
        "best within",
        "regret",
        "over limit",
        "cheaper cost",
        "refused: invalid",
        "repeated",
        "infeasible",
        "s/ask",
        "slowest",
    ):
        shown.add_column(title, justify="right")
    for line in lines:
        shown.add_row(
            line.sampler,
            str(line.evaluations),
            f"{line.share:.4f}",
            "none" if line.best is None else f"{line.best:.5g}",
            f"{line.regret:.3f}",
            f"{line.infeasible:.1%}",
            f"{line.cheaper_cost:.1f}",
            f"{line.invalid:.1f}",
            f"{line.repeated:.1f}",
            f"{line.infeasible_asked:.1f}",
            f"{line.seconds:.3f}",
            f"{line.slowest:.2f}",
        )
    console.print(shown)


if __name__ == "__main__":
    cli.run(main, "python -m search.benchmark")
