"""Every bar of the sampler: on a table of known results, and in the real space with made-up outcomes.

    python benchmarks/search_sampler.py --table nb201.csv [--seeds 10] [--first-seed 200] [--parts alone,space]

Parts of the table (its columns are named by options): `exact` compares all samplers when latency is known, `alone` is
the default sampler without them (only when named), `noise`
adds 5 % of error to it, `low` a simulated cheaper kind of evaluation (1/20 of the cost, rank correlation .9).
Parts of the real space: `warm` starts from the official variants where one of twelve is within the limit, `warm-t4`
where eleven are, `space` asks 300 times in a row, `overhead` times one ask by the number of trials. Without
--table only those of the real space run. One core; a bar that is not
met says so. Optuna's GPSampler has a number of seeds of its own (--gp-seeds).
"""

import argparse
import math
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from made_up_world import CPU, T4, World, area

from search.benchmarking.play import Task
from search.benchmarking.summary import Line, lines_of, play_all
from search.benchmarking.table import read_table
from search.published_rung import published_results
from search.sampler import BASELINE_NAMES, DEFAULT_SAMPLER
from search.study import Known

TABLE_PARTS, SPACE_PARTS = ("exact", "alone", "noise", "low"), ("warm", "warm-t4", "space", "overhead")
LOW_COST, LOW_CORRELATION = 0.05, 0.9


def bar(what: str, value: float, limit: float, *, at_most: bool = False) -> None:
    """One line: what was asked, what came out, and whether that is enough."""
    met = value <= limit if at_most else value >= limit
    sign = "<=" if at_most else ">="
    print(f"  {'met   ' if met else 'MISSED'} {what}: {value:.4g}, asked {sign} {limit:.4g}", flush=True)


def searched(task: Task, name: str, seeds: range, budget: int) -> dict[int, Line]:
    """Figures by number of evaluations."""
    start = time.process_time()
    plays = play_all(task, name, seeds, budget, jobs=1, told=lambda _: None)
    lines = {line.evaluations: line for line in lines_of(task, name, plays, budget)}
    for line in lines.values():
        print(
            f"{name:13} {line.evaluations:4} evaluations: hypervolume {line.share:.4f} regret {line.regret:.3f} "
            f"over the limit {line.infeasible:.1%}, seeds {seeds[0]} to {seeds[-1]}, {line.seconds:.3f} s per ask",
            flush=True,
        )
    print(f"{name:13} took {time.process_time() - start:.0f} s of one core", flush=True)
    return lines


def bars_of_table(ours: dict[int, Line]) -> None:
    """What the default sampler is held to where latency is known exactly."""
    bar("hypervolume at 25", ours[25].share, 0.95)
    bar("hypervolume at 50", ours[50].share, 0.985)
    bar("regret at 50", ours[50].regret, 0.3, at_most=True)


def alone(task: Task, seeds: range) -> None:
    """The default sampler without baselines."""
    ours = searched(task, DEFAULT_SAMPLER, seeds, 50)
    bars_of_table(ours)


def exact(task: Task, seeds: range, gp_seeds: int) -> None:
    """Latency known exactly, against all baselines."""
    ours = searched(task, DEFAULT_SAMPLER, seeds, 100)
    best = {25: 0.0, 50: 0.0, 100: 0.0}
    for name in BASELINE_NAMES:
        lines = searched(task, name, seeds[:gp_seeds] if name == "gp" else seeds, 100)
        best = {count: max(best[count], lines[count].share) for count in best}
    bars_of_table(ours)
    last = ours[100]
    bar("invalid, repeated and infeasible", last.invalid + last.repeated + last.infeasible, 0, at_most=True)
    for count, share in best.items():
        bar(f"no baseline better at {count}", ours[count].share, share)


def noise(task: Task, seeds: range) -> None:
    """Estimates that are 5 % off."""
    ours = searched(replace(task, cheap_noise=0.05), DEFAULT_SAMPLER, seeds, 50)
    bar("hypervolume at 50 with 5 % error", ours[50].share, 0.97)
    bar("over the limit with 5 % error", ours[50].infeasible, 0.05, at_most=True)


def low(task: Task, seeds: range) -> None:
    """A rank-correlated cheaper evaluation: as much for half of the dear ones."""
    rank = np.argsort(np.argsort(task.value)) / len(task.value)
    wobble = np.random.default_rng(0).normal(0.0, 1.0, len(rank))
    cheaper = LOW_CORRELATION * (rank - rank.mean()) / rank.std() + (1 - LOW_CORRELATION**2) ** 0.5 * wobble
    alone = searched(task, DEFAULT_SAMPLER, seeds, 50)
    both = searched(replace(task, low=((cheaper, LOW_COST),)), DEFAULT_SAMPLER, seeds, 25)
    bar("hypervolume at 25 with a cheaper rung as at 50 without", both[25].share, alone[50].share)


def warm(world: World, seeds: int) -> None:
    """From the official variants after 25 questions, beside from nothing after 50.

    As fixed trials, of which those over the limit are not trained; with their printed AP besides
    (`--warm-start published`); and all of them trained.
    """
    official = [world.answer(candidate) for candidate in world.official]
    within = sum(one.ap is not None for one in official)
    print(
        f"{within} of {len(official)} variants within the limit: hypervolume {area(official):.4f}", flush=True
    )
    starts = {
        "fixed trials": official,
        "with published AP": [*official, *published_results(world.space)],
        "all trained": [world.answer(candidate, trained_up_to=math.inf) for candidate in world.official],
    }
    areas: dict[str, list[float]] = {name: [] for name in (*starts, "cold after 25", "cold after 50")}
    for seed in range(seeds):
        for name, known in starts.items():
            areas[name].append(area(world.search(25, seed, known)[0]))
        cold = world.search(50, seed)[0]
        for asks in (25, 50):
            areas[f"cold after {asks}"].append(area(cold[:asks]))
        told = ", ".join(f"{found[-1]:.4f} {name}" for name, found in areas.items())
        print(f"seed {seed}: hypervolume after 25: {told}", flush=True)
    print(f"mean cold after 25: {np.mean(areas['cold after 25']):.4f}", flush=True)
    for name in starts:
        asked = float(np.mean(areas["cold after 50"]))
        bar(f"warm start after 25, {name}, mean of {seeds} seeds", float(np.mean(areas[name])), asked)


def row(asks: int) -> list[Known]:
    """Many questions in a row."""
    start = time.process_time()
    told, invalid, repeated = CPU.search(asks, 0)
    over = sum(one.ap is None for one in told)
    seconds = (time.process_time() - start) / asks
    print(f"{asks} asks in a row: {over} over the limit, {seconds:.2f} s per ask", flush=True)
    bar("invalid asks", invalid, 0, at_most=True)
    bar("repeated asks", repeated, 0, at_most=True)
    return told


def overhead(told: list[Known], many: int) -> None:
    """One ask by the number of finished trials; the least of three, since other work only adds to it."""
    rng = random.Random(0)
    while len(told) < many:
        told.append(CPU.answer(CPU.space.sample(rng)))
    taken = {}
    for count in sorted({min(count, many) for count in (100, 300, 1000, many)}):
        times = []
        for seed in range(3):
            start = time.process_time()
            CPU.search(1, seed, told[:count])
            times.append(time.process_time() - start)
        taken[count] = min(times)
        print(f"one ask at {count} trials: {taken[count]:.2f} s of one core", flush=True)
    if many > 300:
        bar("seconds of an ask at 300 trials", taken[300], 1.0, at_most=True)
        bar(f"growth from 300 to {many} trials", taken[many] / taken[300], many / 300, at_most=True)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, help="CSV as for search.benchmark")
    parser.add_argument("--maximize", default="accuracy")
    parser.add_argument("--minimize", default="latency_ms")
    parser.add_argument("--cheap", default="latency_ms,params_m")
    parser.add_argument("--quantile", type=float, default=0.25, help="of latency: the limit")
    parser.add_argument(
        "--parts", default=",".join(part for part in (*TABLE_PARTS, *SPACE_PARTS) if part != "alone")
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--gp-seeds", type=int, default=5, help="of Optuna's GPSampler")
    parser.add_argument("--warm-seeds", type=int, default=5, help="of the warm start in the real space")
    parser.add_argument("--asks", type=int, default=300)
    parser.add_argument("--many", type=int, default=2000, help="trials of the last timing")
    options = parser.parse_args()
    parts = set(options.parts.split(","))
    if unknown := parts - {*TABLE_PARTS, *SPACE_PARTS}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if options.table is not None:
        table = read_table(options.table)
        latency = table.column(options.minimize, "--minimize")
        task = Task(
            table=table,
            value=table.column(options.maximize, "--maximize"),
            latency=latency,
            latency_name=options.minimize,
            limit=float(np.quantile(latency, options.quantile)),
            cheap={name: table.column(name, "--cheap") for name in options.cheap.split(",")},
        )
        if "exact" in parts:
            exact(task, seeds, options.gp_seeds)
        if "alone" in parts:
            alone(task, seeds)
        if "noise" in parts:
            noise(task, seeds)
        if "low" in parts:
            low(task, seeds)
    if "warm" in parts:
        warm(CPU, options.warm_seeds)
    if "warm-t4" in parts:
        warm(T4, options.warm_seeds)
    told = row(options.asks) if "space" in parts else []
    if "overhead" in parts:
        overhead(told, options.many)


if __name__ == "__main__":
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        main()
