"""A search for a device that is not here: estimates decide, and are called so wherever they are shown."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from charts.front import front_info
from charts.plot import front_figure
from dashboard.tables import evidence_table, trial_table
from evaluators.estimate.design import space_of
from evaluators.hardware import Hardware, resolve_hardware, usual_precisions
from foundation.errors import UserError
from search.abilities import require_able
from search.budget import TimePlan, TrainingCost
from search.conductor import Conductor
from search.driver import fixed_trials
from search.estimates import deployable, estimator_for, judging_hardware
from search.export import best_under, describe, verify_export
from search.model_card import model_card
from search.report import _front_table, _latency_text, _within, trial_json
from search.roles import Policy
from search.view import _best_text
from storage import Repository, StudyRecord, TrialRecord, TrialState
from storage.front import pareto_front
from tests.search.fakes import SilentView, trained
from yolov6space.candidate import Candidate
from yolov6space.space import Space
from yolov6space.variants import get

TARGET_MS = 5.6
SETTINGS = {
    "backend": "estimate",
    "device": "Tesla T4",
    "hardware": "t4",
    "image_size": 640,
    "batch": 1,
    "classes": [str(number) for number in range(80)],
    "data": {"name": "fake", "description": "made up", "source": "bundled"},
}


@pytest.fixture
def t4(monkeypatch: pytest.MonkeyPatch) -> Hardware:
    monkeypatch.setattr("evaluators.hardware.has_nvidia_gpu", lambda: False)
    return resolve_hardware("t4")


def nobody_measures(candidate: dict[str, Any]) -> dict[str, Any]:
    raise AssertionError("a latency was measured for a device that is not here")


@pytest.fixture
def finished(tmp_path: Path, t4: Hardware) -> Iterator[tuple[StudyRecord, list[TrialRecord]]]:
    """The official variants in fp16 as trials of a study for a T4."""
    with Repository.open(f"sqlite:///{tmp_path / 'search.db'}") as repository:
        study = repository.create_study("t4", SETTINGS, target_latency_ms=TARGET_MS)
        search = Conductor(
            repository=repository,
            study=study,
            space=Space.default(),
            policy=Policy(
                target_ms=TARGET_MS,
                image_size=640,
                num_classes=80,
                epochs=5,
                train_images=100,
                sampler="random",
                seed=0,
                fixed=tuple(item for item in fixed_trials(("fp16", "int8")) if item[0].endswith("fp16")),
                only_fixed=True,
                estimated=True,
            ),
            plan=TimePlan(budget_s=None, cost=TrainingCost(0.0, 0.01)),
            judge=nobody_measures,
            view=SilentView(),
            estimator=estimator_for(t4, image_size=640, batch=1, classes=80),
        )
        search.add_fixed_trials()
        while (job := search.next_job()) is not None:
            search.succeeded(job, trained(job) | {"measurement": None})
        yield study, repository.trials(study.id)


def test_estimates_decide_and_are_stored_as_estimates(
    finished: tuple[StudyRecord, list[TrialRecord]],
) -> None:
    _, trials = finished
    by_name = {trial.title.split()[0]: trial for trial in trials}
    assert all(trial.latency is None and len(trial.estimates) == 1 for trial in trials)
    assert by_name["YOLOv6-S"].state is TrialState.FINISHED
    assert by_name["YOLOv6-S"].feasible
    figure = by_name["YOLOv6-S"].final_latency
    assert figure is not None and figure.origin == "estimated"
    assert figure.low_ms < figure.ms < figure.high_ms
    slow = by_name["YOLOv6-L"]
    assert slow.state is TrialState.INFEASIBLE and slow.feasible is False and slow.final_latency is None
    assert "estimated for Tesla T4" in str(slow.reason)
    front = pareto_front(trials)
    assert [trial.title for trial in front] == [f"YOLOv6-{name} fp16" for name in "NTSM"]
    assert best_under(trials, "t4", 3.0).title == "YOLOv6-S fp16"


def test_brackets_in_the_name_of_data_are_printed_as_they_are(
    finished: tuple[StudyRecord, list[TrialRecord]],
) -> None:
    study, trials = finished
    settings = {**study.settings, "data": {**study.settings["data"], "name": "cells[/x] [b]"}}
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(_front_table(trials[:0], "Front", settings))
    assert "AP on cells[/x] [b] val" in console.export_text()


def test_a_searched_image_size_is_shown_with_each_network(
    finished: tuple[StudyRecord, list[TrialRecord]],
) -> None:
    study, trials = finished
    front = pareto_front(trials)
    own = [replace(front[0], spec={**front[0].spec, "image_size": 256}), *front[1:]]
    told = []
    for shown in (front, own, own[:1]):
        console = Console(width=200, file=io.StringIO(), record=True)
        console.print(_front_table(shown, "Front", study.settings))
        told.append(console.export_text())
    study_size = study.settings["image_size"]
    assert f"at {study_size} px" in told[0] and "their own size" in told[1]
    assert "256" in told[1] and str(study_size) in told[1]
    assert "at 256 px" in told[2]


def test_estimated_is_said_wherever_a_latency_is_shown(
    finished: tuple[StudyRecord, list[TrialRecord]],
) -> None:
    study, trials = finished
    best = pareto_front(trials)[-1]
    told = trial_json(best, on_front=True)
    assert told["latency"] is None
    assert told["latency_estimate"]["origin"] == "estimated"
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(_front_table([best], "Front", study.settings))
    table = console.export_text()
    assert "estimated for Tesla T4, not measured" in table
    assert "estimated ms (90 %)" in table
    assert "estimated" in _best_text(best)
    assert all("estimated" in _latency_text(trial) for trial in trials)
    assert "estimated" in front_info(trials, target_ms=TARGET_MS).latency_title()
    assert "estimated" in front_figure(front_info(trials, target_ms=TARGET_MS)).layout.xaxis.title.text
    assert set(trial_table(trials)["latency from"]) == {"estimated"}
    assert "latency ms, estimated" in set(evidence_table(best)["evidence"])
    card = model_card(study, best, None, None, folder="out", data="data")
    assert "**estimated for Tesla T4, nobody measured it**" in card
    assert "ms (estimated)" in card


def test_an_interval_that_crosses_the_limit_is_no_plain_yes(
    finished: tuple[StudyRecord, list[TrialRecord]],
) -> None:
    _, trials = finished
    words = {trial.title.split()[0]: _within(trial) for trial in trials}
    assert words["YOLOv6-N"] == "yes"
    assert words["YOLOv6-M"] == "probably"
    assert words["YOLOv6-L"] == "no"


def test_an_export_is_verified_by_ap_here_and_estimated_again(
    finished: tuple[StudyRecord, list[TrialRecord]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study, trials = finished
    best = pareto_front(trials)[0]
    assert best.deployed is not None
    asked = []

    def accuracy(*arguments: str) -> dict[str, Any]:
        asked.append(arguments)
        assert best.deployed is not None
        return {"figures": {"AP": best.deployed.ap}}

    monkeypatch.setattr("search.export._run_json", accuracy)
    found = verify_export(tmp_path, study, best, "data", TARGET_MS)
    assert [arguments[0] for arguments in asked] == ["accuracy"]
    assert "cpu" in asked[0]
    assert found.within_target and found.same_ap and found.latency_estimated
    assert found.median_ms == pytest.approx(found.median_ms_stored)
    assert "estimated, not measured" in describe(found)


def test_the_default_space_takes_the_precisions_of_the_device(t4: Hardware) -> None:
    space = space_of(None, t4)
    assert space.choices["precision"] == ("fp16", "int8")
    require_able(space, t4)
    with pytest.raises(UserError, match="precision offers fp32"):
        require_able(space_of("default", t4), t4)
    assert space_of(None, resolve_hardware("cpu")).choices["precision"] == ("fp32", "int8")
    here = replace(t4, device="cuda:0", backend="tensorrt")
    assert space_of(None, here).choices["precision"] == ("fp16", "int8")
    require_able(space_of(None, here), here)
    assert {candidate.precision.kind for _, candidate in fixed_trials(usual_precisions(here))} == {
        "fp16",
        "int8",
    }


def test_ap_is_judged_on_the_cpu_in_what_it_can_run(t4: Hardware) -> None:
    cpu = resolve_hardware("cpu")
    fp16 = get("YOLOv6-N")
    assert judging_hardware(t4).name == "cpu"
    assert judging_hardware(cpu) == cpu
    assert deployable(fp16, t4).precision.kind == "fp32"
    assert deployable(fp16, cpu) == fp16
    int8 = dict(fixed_trials(("fp16", "int8")))["YOLOv6-N int8"]
    assert deployable(int8, t4) == int8


def test_a_device_nobody_calibrated_has_no_estimator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, t4: Hardware
) -> None:
    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path))
    size = {"image_size": 320, "batch": 1, "classes": 80}
    assert estimator_for(resolve_hardware("cpu"), **size) is None
    estimator = estimator_for(t4, **size)
    assert estimator is not None
    plain = Candidate.from_dict(get("YOLOv6-N").to_dict())
    other = replace(plain, model=replace(plain.model, conv="qarepvgg"))
    assert estimator(plain).value == estimator(other).value, "both fold into the same network"
