"""The end of a run: tables for people, JSON for programs, plots for both."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charts.published import published_points
from evaluators.hardware import ESTIMATE
from search.ptq_loss import lost_by_ptq
from storage.front import best_feasible, of_a_part, pareto_front
from storage.states import TrialKind, TrialState
from storage.urls import mask
from yolov6space.candidate import Candidate

if TYPE_CHECKING:
    from rich.table import Table

    from search.driver import SearchResult
    from search.samplers.report import Beliefs
    from storage.records import EvaluationRecord, TrialRecord

MATTERING = 5  # dimensions that the report names
PLAIN_WIDTH = 150  # of tables that do not go to a terminal


def trial_json(trial: TrialRecord, *, on_front: bool) -> dict[str, Any]:
    """One trial as JSON values; every number with its origin and protocol."""
    latency, estimate = trial.latency, trial.latency_estimate
    return {
        "trial": trial.number,
        "candidate": trial.candidate_key,
        "name": trial.title,
        "kind": str(trial.kind),
        "state": str(trial.state),
        "reason": trial.reason,
        "feasible": trial.feasible,
        "on_front": on_front,
        "precision": Candidate.from_dict(trial.spec).precision.label,
        "params": trial.params,
        "flops": trial.flops,
        "accuracy": {
            str(origin): {
                "AP": one.ap,
                "AP50": one.ap50,
                "epochs": one.epochs,
                "protocol": dict(one.protocol),
            }
            for origin, one in trial.evaluations.items()
        },
        "latency": None
        if latency is None
        else {
            "origin": f"measured, {latency.rung} artefact",
            "median_ms": latency.median_ms,
            "low_ms": latency.low_ms,
            "high_ms": latency.high_ms,
            "p99_ms": latency.p99_ms,
            "workload": dict(latency.workload),
        },
        "latency_estimate": None
        if estimate is None
        else {
            "origin": "estimated",
            "value_ms": estimate.value,
            "low_ms": estimate.low,
            "high_ms": estimate.high,
            "source": estimate.source,
        },
        "spec": dict(trial.spec),
    }


def result_json(result: SearchResult, plots: Mapping[str, Path]) -> dict[str, Any]:
    """The whole result as JSON values."""
    front = {trial.id for trial in pareto_front(result.trials)}
    return {
        "study": result.study.name,
        "storage": result.storage_url,
        "settings": dict(result.study.settings),
        "interrupted": result.interrupted,
        "counts": count_states(result.trials),
        "trials": [trial_json(trial, on_front=trial.id in front) for trial in result.trials],
        "beliefs": None if result.beliefs is None else beliefs_json(result.beliefs),
        "plots": {name: str(path) for name, path in plots.items()},
    }


def beliefs_json(beliefs: Beliefs) -> dict[str, Any]:
    """What the search believes: importance of dimensions, and AP predicted for what was not trained."""
    return {
        "origin": "estimated",
        "importance": beliefs.importance,
        "predicted_front": [
            {"latency_ms": one.latency, "AP": one.value, "AP_low": one.low, "AP_high": one.high}
            for one in beliefs.front
        ],
    }


def count_states(trials: Iterable[TrialRecord]) -> dict[str, int]:
    """How many trials are in each state."""
    states = [trial.state for trial in trials]
    return {str(state): states.count(state) for state in TrialState}


def print_report(result: SearchResult, plots: Mapping[str, Path]) -> None:
    """Tables and next commands on standard output."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    settings = result.study.settings
    target = result.study.target_latency_ms
    front = pareto_front(result.trials)
    console.print()
    if front:
        console.print(_front_table(front, f"Pareto front within {target:g} ms", settings))
    else:
        console.print(f"No network within {target:g} ms was trained yet.")
    rest = [trial for trial in result.trials if trial.final_latency and trial.id not in {t.id for t in front}]
    if rest:
        console.print(_front_table(rest, "Also trained, not on the front", settings))
    official = [trial for trial in result.trials if trial.kind == "fixed"]
    if official:
        console.print(_official_table(official))
        here = "latencies estimated here" if settings["backend"] == ESTIMATE else "another device"
        console.print(
            f"[dim]published: COCO val2017, Tesla T4, FP16 (also beside int8): other data and {here}, not comparable "
            "with the other columns[/dim]"
        )
    for note in notes(result, front):
        console.print(f"note: {note}", highlight=False)
    counts = ", ".join(f"{count} {state}" for state, count in count_states(result.trials).items() if count)
    console.print(f"\ntrials:   {counts}", highlight=False)
    console.print(
        f"data:     {settings['data']['name']}: {settings['data']['description']}",
        highlight=False,
        markup=False,
    )
    console.print(f"database: {result.storage_url}", highlight=False, soft_wrap=True)
    if result.beliefs is not None:
        shares = list(result.beliefs.importance.items())[:MATTERING]
        words = ", ".join(f"{name} {share:.0%}" for name, share in shares)
        console.print(f"mattered: {words} (share of predicted AP, estimated)", highlight=False)
    best = best_feasible(result.trials)
    lost = None if best is None else lost_by_ptq(best)
    if best is not None and lost is not None:
        console.print(
            f"int8:     trial {best.number} lost AP {lost:.3f} to PTQ; search.qat may bring a part of it back",
            highlight=False,
        )
    for name, path in plots.items():
        console.print(f"{name + ':':9} {path}", highlight=False, soft_wrap=True)
    console.print("next:", highlight=False)
    for command in next_commands(result):
        console.print(f"  {command}", highlight=False, soft_wrap=True)


def notes(result: SearchResult, front: Sequence[TrialRecord]) -> list[str]:
    """What the tables alone may be misread for."""
    found = []
    epochs = [trial.deployed.epochs or 0 for trial in front if trial.deployed]
    if epochs and min(epochs) != max(epochs):
        found.append(
            f"the networks of the front were trained for {min(epochs):.0f} to {max(epochs):.0f} epochs: a part of what "
            "AP differs by is training; run the command again to train more of them longer"
        )
    trained = {trial.kind for trial in result.trials if trial.final_latency}
    if trained == {TrialKind.FIXED} and not result.asked.only_fixed:
        found.append(
            "no network but official variants was trained: to search, allow a larger --time-budget or a smaller "
            "--image-size, or run the command again"
        )
    return found


def next_commands(result: SearchResult) -> list[str]:
    """What a person probably wants to do next, ready to paste."""
    name, target = result.study.name, result.study.target_latency_ms
    storage = [] if result.asked.storage is None else ["--storage", mask(result.asked.storage)]
    commands = []
    best = best_feasible(result.trials)
    if best is not None:
        out = next(one for one in chain(["best"], (f"best-{n}" for n in count(2))) if not Path(one).exists())
        chosen = ["--study", name, "--best-under", f"{target}ms", "--out", out, *storage]
        commands.append(shlex.join(["python", "-m", "search.export", *chosen]))
        if lost_by_ptq(best) is not None:
            tuning = [out, "--data", result.asked.data, "--out", f"{out}-int8"]
            commands.append(shlex.join(["python", "-m", "search.qat", *tuning]))
    commands.append(shlex.join(["python", "-m", "dashboard", *storage]))
    commands.append("the same command again, to search on")
    return commands


def write_plots(result: SearchResult) -> dict[str, Path]:
    """The front as PNG and HTML in the study's folder, and the predicted front where there is one."""
    from charts.front import front_info, front_png, write_html
    from charts.predicted import PredictedPoint, predicted_png

    info = front_info(result.trials, published_points(), result.study.target_latency_ms)
    png, html = result.folder / "front.png", result.folder / "front.html"
    front_png(info, png)
    write_html(info, html)
    plots = {"plot": png, "page": html}
    if result.beliefs is not None and result.beliefs.front:
        plots["beliefs"] = result.folder / "predicted.png"
        front = [PredictedPoint(p.latency, p.value, p.low, p.high) for p in result.beliefs.front]
        predicted_png(info, front, plots["beliefs"])
    return plots


def _front_table(trials: Iterable[TrialRecord], title: str, settings: Mapping[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    estimated = settings["backend"] == ESTIMATE
    where = (
        f"OpenVINO on this CPU; latency estimated for {settings['device']}, not measured"
        if estimated
        else f"the {settings['backend']} engine on {settings['device']}"
    )
    shown = [(trial, Candidate.from_dict(trial.spec)) for trial in trials]
    sizes = [candidate.image_size or settings["image_size"] for _, candidate in shown]
    varied = len(set(sizes)) > 1
    pixels = "their own size" if varied else f"{next(iter(sizes), settings['image_size'])} px"
    table = Table(
        title=f"{title}: AP on {escape(settings['data']['name'])} val at {pixels} through {where}",
        title_justify="left",
    )
    table.add_column("trial", justify="right")
    table.add_column("candidate", overflow="fold")
    for name in (
        *(("px",) if varied else ()),
        "AP",
        "AP50",
        "estimated ms (90 %)" if estimated else "latency ms (95 %)",
        "params M",
        "GFLOPs",
    ):
        table.add_column(name, justify="right")
    table.add_column("precision")
    table.add_column("epochs", justify="right")
    table.add_column("within limit")
    for (trial, candidate), size in zip(shown, sizes, strict=True):
        latency, deployed = trial.final_latency, trial.deployed
        assert latency is not None and deployed is not None
        table.add_row(
            str(trial.number),
            trial.title,
            *((str(size),) if varied else ()),
            _ap_text(deployed),
            _number(deployed.ap50),
            f"{latency.ms:.2f} ({latency.low_ms:.2f}–{latency.high_ms:.2f})",
            _number((trial.params or 0) / 1e6, 2),
            _number((trial.flops or 0) / 1e9, 2),
            candidate.precision.label,
            f"{deployed.epochs:.0f}",
            _within(trial),
        )
    return table


def _ap_text(deployed: EvaluationRecord) -> str:
    """AP; of one that was not judged to the end, also how much of the data that is."""
    text = _number(deployed.ap)
    if of_a_part(deployed.protocol):
        return f"{text} on {deployed.protocol['images']} of {deployed.protocol['of_images']} images"
    return text


def _official_table(trials: Iterable[TrialRecord]) -> Table:
    from rich.table import Table

    table = Table(title="Official variants: here, and as published", title_justify="left")
    table.add_column("variant")
    for name in ("AP here", "ms here", "state", "AP published", "ms published"):
        table.add_column(name, justify="left" if name == "state" else "right", overflow="fold")
    printed = {point.name: point for point in published_points()}
    for trial in trials:
        point = printed.get(trial.title.split()[0])
        table.add_row(
            trial.title,
            _ap_text(trial.deployed) if trial.deployed else "–",
            _latency_text(trial),
            str(trial.state),
            _number(point.ap if point else None),
            _number(point.latency_ms if point else None, 1),
        )
    return table


def _within(trial: TrialRecord) -> str:
    """Whether it is within the limit; an estimate whose interval crosses the limit is no plain yes."""
    latency, limit = trial.final_latency, trial.target_latency_ms
    if trial.feasible and latency and latency.estimated and limit is not None and latency.high_ms > limit:
        return "probably"
    return "yes" if trial.feasible else "no"


def _latency_text(trial: TrialRecord) -> str:
    if trial.latency is not None:
        return f"{trial.latency.median_ms:.2f}"
    estimate = trial.latency_estimate
    return "–" if estimate is None else f"{estimate.value:.2f} (estimated)"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
