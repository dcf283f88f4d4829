"""QAT inside a search: what it makes, that it goes on after an interruption, and that it is foreseen."""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from evaluators.artefact import Artefact, load_artefact
from evaluators.data import DetectionData
from search import job_qat, joint_trial, training
from search.budget import TimePlan, TrainingCost
from search.effort import qat_epochs
from search.job_qat import fine_tuned
from search.model_card import _tuning
from search.stages import Bench, TrainJob, train_and_deploy
from search.training import OutOfTime, TrainingProgress
from search.workers import outcome_of
from storage import Repository
from tests.search.conducting import Clock, conductor
from tests.search.fakes import gflops, trained
from yolov6space.candidate import Candidate, Precision

QAT = Precision(kind="int8", scheme="qat", float_layers=0)
PTQ = Precision.of("int8")


@pytest.fixture
def here(bench: Bench, rectangles: DetectionData) -> Bench:
    return dataclasses.replace(bench, data=str(rectangles.split("train").annotations.parent.parent))


@pytest.fixture
def qat(tiny: Candidate) -> Candidate:
    return dataclasses.replace(tiny, precision=QAT)


def job(candidate: Candidate, **changes: Any) -> TrainJob:
    return TrainJob(trial_id=1, candidate=candidate.to_dict(), epochs=2, **changes)


def timed(artefact: Artefact, bench: Bench) -> dict[str, Any]:
    return {"timed": artefact.hash}


def no_more(*arguments: Any, **named: Any) -> None:
    raise AssertionError("trained again")


def test_a_twin_of_ptq_is_fine_tuned_from_the_same_weights_and_deployed_as_such(
    tiny: Candidate, qat: Candidate, here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ptq = dataclasses.replace(tiny, precision=PTQ)
    plain = train_and_deploy(job(ptq), here, measure=timed)
    assert "tuning" not in plain and "quantization" not in plain["deployed"]["protocol"]

    reports: list[TrainingProgress] = []
    lives: list[None] = []
    with monkeypatch.context() as patched:
        patched.setattr(training, "train", no_more)
        result = train_and_deploy(job(qat), here, reports.append, timed, lambda: lives.append(None))
    assert result["weights"] == plain["weights"]
    assert {one.phase for one in reports} == {"qat"} and len(lives) > len(reports)
    assert result["tuning"]["images_seen"] == 8 and result["tuning"]["seconds"] > 0
    protocol = result["deployed"]["protocol"]
    told = {name: value for name, value in protocol.items() if name.startswith(("q", "precision"))}
    assert told == {
        "precision": "int8 qat",
        "quantization": "qat",
        "qat_epochs": 1,
        "qat_lr": 1e-4,
        "qat_batch": 4,
        "qat_seed": 0,
        "qat_distillation": "channel-wise",
    }
    assert protocol["epochs"] == 2
    assert result["trained"]["protocol"] == plain["trained"]["protocol"]  # that of the float network
    assert result["trained"]["figures"] == plain["trained"]["figures"]
    json.dumps(result, allow_nan=False)

    built = load_artefact(result["artefact"]["path"])
    assert built.candidate == qat and result["measurement"] == {"timed": built.hash}
    before = load_artefact(plain["artefact"]["path"])
    assert built.onnx.read_bytes() != before.onnx.read_bytes()
    assert built.weights.read_bytes() == before.weights.read_bytes()  # float, for a longer training


def test_qat_that_was_interrupted_or_whose_file_is_gone_ends_with_the_same_weights(
    qat: Candidate, here: Bench, rectangles: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Path(train_and_deploy(job(qat), here, measure=timed)["weights"])

    def tuned(where: str, alive: Callable[[], None] = lambda: None, **changes: Any) -> dict[str, bytes]:
        one = dataclasses.replace(here, folder=str(tmp_path / where))
        found = fine_tuned(job(qat, **changes), qat, one, rectangles, weights, None, alive)
        assert found is not None
        return {name: tensor.numpy().tobytes() for name, tensor in load_file(found.run.weights).items()}

    whole = tuned("whole")
    with monkeypatch.context() as patched:  # its worker was lost when QAT was over
        patched.setattr(training, "fine_tune", no_more)
        assert tuned("whole") == whole
    weights_of_qat = next((tmp_path / "whole").rglob("weights.safetensors"))
    weights_of_qat.write_bytes(b"nonsense")
    assert tuned("whole") == whole
    weights_of_qat.unlink()
    assert tuned("whole") == whole

    told = iter([None])

    def killed_at_the_second_sign() -> None:
        if next(told, "killed"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned("broken", killed_at_the_second_sign)
    assert not list((tmp_path / "broken").rglob("trained.json"))
    with pytest.raises(OutOfTime):
        tuned("broken", deadline=time.time() - 1.0)
    assert list((tmp_path / "broken").rglob("checkpoint.pt"))
    assert tuned("broken") == whole

    monkeypatch.setattr(job_qat, "qat_epochs", lambda candidate, epochs: 2)  # after a longer training
    assert tuned("whole") != whole


def test_out_of_time_in_qat_is_told_as_in_training(tiny: Candidate, qat: Candidate, here: Bench) -> None:
    train_and_deploy(job(tiny), here, measure=timed)
    late = job(qat, deadline=time.time() - 1.0)
    outcome = outcome_of(lambda: train_and_deploy(late, here, measure=timed))
    assert set(outcome) == {"failed", "out_of_time"}


def test_qat_takes_a_tenth_of_the_epochs_before_it(qat: Candidate) -> None:
    assert [qat_epochs(qat, epochs) for epochs in (1, 6, 30, 60, 400)] == [1, 1, 3, 6, 10]
    assert qat_epochs(dataclasses.replace(qat, precision=PTQ), 60) == 0
    assert qat_epochs(dataclasses.replace(qat, precision=Precision()), 60) == 0


def test_a_plan_foresees_qat_in_one_process_and_learns_its_time() -> None:
    plan = TimePlan(budget_s=None, cost=TrainingCost(0.02, 0.01).shared(2), clock=lambda: 0.0, processes=2)
    alone = TimePlan(budget_s=None, cost=TrainingCost(0.02, 0.01), clock=lambda: 0.0)
    assert plan.tuning_seconds(2.0, 10, 3) == pytest.approx(alone.tuning_seconds(2.0, 10, 3))
    assert alone.tuning_seconds(2.0, 10, 3) > 10 * 3 * 0.04
    for _ in range(20):
        plan.learn_tuning(2.0, images_seen=100, seconds=100 * 0.3)
    assert plan.tuning_seconds(2.0, 10, 3) == pytest.approx(10 * 3 * 0.3, rel=1e-3)
    training = plan.seconds_for(2.0, 10, 3)
    plan.learn_tuning(2.0, images_seen=100, seconds=100 * 0.6)
    assert plan.seconds_for(2.0, 10, 3) == training


def test_a_search_foresees_qat_for_exploring_and_for_finalists(
    repository: Repository, qat: Candidate
) -> None:
    one = conductor(repository, budget_s=400.0)
    ptq = dataclasses.replace(qat, precision=PTQ)
    qat_after_5 = one.plan.tuning_seconds(gflops(qat), 100, 1)
    assert one._proposals.training_seconds(qat) == pytest.approx(
        one._proposals.training_seconds(ptq) + qat_after_5
    )
    # of a time that is too short for the longest training, QAT takes its part
    per_epoch = one.plan.seconds_for(gflops(qat), 100, 1) - one.plan.deploy_seconds
    left = one.plan.deploy_seconds + 18.2 * per_epoch
    assert one._finalists._epochs(ptq, left) == 18
    epochs = one._finalists._epochs(qat, left)
    tuning = one._finalists._tuning_seconds(qat, epochs)
    assert tuning == pytest.approx(one.plan.tuning_seconds(gflops(qat), 100, 2))
    assert 10 < epochs < 18 and epochs * per_epoch + tuning <= 18.2 * per_epoch


def test_weights_trained_longer_serve_qat_too_where_its_time_is_left(
    repository: Repository, qat: Candidate
) -> None:
    clock = Clock()
    one = conductor(repository, trials=2, budget_s=4000.0, clock=clock)
    named = tuple((scheme, dataclasses.replace(qat, precision=p)) for scheme, p in (("p", PTQ), ("q", QAT)))
    one = dataclasses.replace(one, policy=dataclasses.replace(one.policy, fixed=named, target_ms=100.0))
    one.add_fixed_trials()
    while (now := one.next_job()) is not None and not now.epochs_before:
        one.succeeded(now, trained(now))
    assert now is not None
    one.succeeded(now, trained(now))
    past = one._finalists._past()
    assert one._finalists._done_for_another(qat, past) == now.epochs
    clock.now = 4000.0 - 0.5 * one._finalists._tuning_seconds(qat, now.epochs)
    assert one._finalists._done_for_another(qat, past) is None
    ptq = dataclasses.replace(qat, precision=PTQ)
    assert one._finalists._done_for_another(ptq, past) == now.epochs


def test_what_a_job_tells_of_qat_corrects_the_plan(repository: Repository, qat: Candidate) -> None:
    one = conductor(repository, trials=1)
    one = dataclasses.replace(
        one, policy=dataclasses.replace(one.policy, fixed=(("q", qat),), target_ms=100.0)
    )
    one.add_fixed_trials()
    now = one.next_job()
    assert now is not None
    before = one.plan.tuning
    one.succeeded(now, {**trained(now), "tuning": {"seconds": 1e4, "images_seen": 100}})
    assert one.plan.tuning > before
    assert repository.trials(1)[0].state.is_finished


def test_the_model_card_says_how_qat_made_the_network() -> None:
    assert _tuning({"precision": "int8 ptq"}) == ""
    told = {"quantization": "qat", "qat_epochs": 3, "qat_lr": 1e-4, "qat_distillation": "channel-wise"}
    assert "QAT): 3 epochs at a rate of 0.0001, channel-wise distillation" in _tuning(told)


def test_time_of_qat_in_one_process_is_no_time_of_starting_several(
    qat: Candidate, here: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"deployed": {"seconds": 0.0}, "training_seconds": 0.0}
    monkeypatch.setattr(joint_trial, "weights_of", no_weights)
    outcomes = []
    for tuning in ({}, {"tuning": {"seconds": 1000.0, "images_seen": 1}}):
        monkeypatch.setattr(joint_trial, "_deployed", lambda *_, tuning=tuning: {**told, **tuning})
        outcomes.append(
            joint_trial.train_jointly_and_deploy(job(qat), here, lambda _: None, lambda: None)[
                "starting_seconds"
            ]
        )
    assert outcomes[0] > outcomes[1] == 0.0


def no_weights(*arguments: Any) -> None:
    time.sleep(0.01)
