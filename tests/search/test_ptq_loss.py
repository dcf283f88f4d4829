"""What PTQ cost a stored trial, and what the report says of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.driver import SearchResult
from search.options import SearchOptions
from search.ptq_loss import lost_by_ptq
from search.report import next_commands
from storage import Repository, TrialRecord
from tests.search.conducting import conductor
from tests.search.fakes import trained
from yolov6space.candidate import Candidate, Precision
from yolov6space.variants import get

INT8 = replace(get("YOLOv6-N"), precision=Precision.of("int8"))


def stored(repository: Repository, candidate: Candidate, before: float | None, **changes: Any) -> TrialRecord:
    """A trial of AP .4 through the engine, and `before` in float."""
    one = conductor(repository, trials=1)
    one = replace(one, policy=replace(one.policy, fixed=(("n", candidate),), target_ms=1e3))
    one.add_fixed_trials()
    job = one.next_job()
    assert job is not None
    result = trained(job)
    told = {**result["trained"], **changes}
    result["trained"] = {**told, "figures": {"AP": before, "AP50": before}}
    result["deployed"] = {**result["deployed"], "figures": {"AP": 0.4, "AP50": 0.6}}
    one.succeeded(job, result)
    return repository.trials(1)[0]


def commands(repository: Repository, trial: TrialRecord) -> str:
    asked = SearchOptions(target_ms=1e3, data="my data")
    study = replace(repository.get_study("s"), target_latency_ms=1e3)
    trial = replace(trial, target_latency_ms=1e3)
    return "; ".join(next_commands(SearchResult(study, [trial], "", Path(), False, asked)))


def test_a_loss_that_is_worth_qat_is_told_with_the_command(repository: Repository) -> None:
    trial = stored(repository, INT8, 0.42)
    assert lost_by_ptq(trial) == pytest.approx(0.02)
    assert "search.qat best --data 'my data' --out best-int8" in commands(repository, trial)


@pytest.mark.parametrize(
    ("scheme", "before", "changes"),
    [
        ("ptq", 0.405, {}),
        ("ptq", None, {}),
        ("ptq", 0.42, {"epochs": 9}),
        ("ptq", 0.42, {"protocol": {"images": 3, "of_images": 9, "ap_low": 0.3, "ap_high": 0.5}}),
        ("qat", 0.42, {}),
        (None, 0.42, {}),
    ],
)
def test_elsewhere_nothing_is_said(
    repository: Repository, scheme: str | None, before: float | None, changes: dict[str, Any]
) -> None:
    precision = Precision(kind="int8", scheme=scheme, float_layers=0) if scheme else Precision()
    trial = stored(repository, replace(INT8, precision=precision), before, **changes)
    assert lost_by_ptq(trial) is None
    assert "search.export" in commands(repository, trial) and "search.qat" not in commands(repository, trial)
