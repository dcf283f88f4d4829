"""The model card tells where every number comes from."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from search.evidence import DISTURBANCE
from search.export import Verification, describe
from search.model_card import Evidence, model_card
from storage.records import (
    LATENCY_MS,
    EstimateRecord,
    EvaluationRecord,
    MeasurementRecord,
    StudyRecord,
    TrialRecord,
)
from storage.states import Origin, Rung, TrialKind, TrialState
from yolov6space.variants import get

NOW = datetime(2026, 5, 4, tzinfo=UTC)
ENVIRONMENT = {
    "cpu": "Some CPU",
    "physical_cores": 2,
    "threads": 2,
    "versions": {"openvino": "2026.4"},
    "git_commit": "0123456789abcdef",
}


@pytest.fixture
def study() -> StudyRecord:
    settings = {
        "image_size": 320,
        "device": "cpu",
        "batch": 1,
        "classes": ["cat", "dog"],
        "data": {"name": "pets", "description": "pets at home"},
    }
    return StudyRecord(
        id=1, name="pets", created_at=NOW, target_latency_ms=8.8, settings=settings, driver_owner=None
    )


@pytest.fixture
def trial() -> TrialRecord:
    protocol = {"split": "val", "images": 87, "conf_threshold": 0.03, "multi_label": True, "seed": 7}
    deployed = EvaluationRecord(
        id=1,
        origin=Origin.DEPLOYED,
        created_at=NOW,
        ap=0.5,
        ap50=0.8,
        figures={},
        protocol=protocol,
        artefact_hash="h",
        seconds=1.0,
        epochs=40.0,
    )
    latency = MeasurementRecord(
        id=1,
        rung=Rung.DEPLOYED,
        created_at=NOW,
        median_ms=5.0,
        low_ms=4.9,
        high_ms=5.1,
        p99_ms=6.0,
        workload={"backend": "openvino"},
        environment_id=1,
        evaluation_id=1,
        artefact_hash="h",
    )
    return TrialRecord(
        id=1,
        number=0,
        candidate_key="k",
        label="label",
        spec=get("YOLOv6-N").to_dict(),
        params=4_300_000,
        flops=2_000_000_000,
        kind=TrialKind.FIXED,
        name="YOLOv6-N fp32",
        state=TrialState.FINISHED,
        reason=None,
        created_at=NOW,
        started_at=NOW,
        finished_at=NOW,
        owner=None,
        attempts=0,
        evaluations={Origin.DEPLOYED: deployed},
        deployed_latency=latency,
        untrained_latency=None,
        estimates=(),
        target_latency_ms=8.8,
    )


def test_card_names_machine_protocol_and_architecture(study: StudyRecord, trial: TrialRecord) -> None:
    card = model_card(
        study,
        trial,
        Evidence(environment={**ENVIRONMENT, DISTURBANCE: "a noisy neighbour"}, samples=321),
        None,
        folder="out dir",
        data="/data/my pets",
    )
    for words in (
        "median of 321 passes",
        "**The measurement was disturbed**: a noisy neighbour.",
        "2026-05-04 on Some CPU, 2 cores, 2 threads used, openvino 2026.4, this program at 0123456789",
        "NMS not included",
        "images 87",
        "seed (7)",
        "rep x4 to 64 channels",
        "box distances without DFL",
        "1 x anchors x 2",
        "conf threshold 0.03, multi label",
        "--artefact 'out dir' --data '/data/my pets'",
        "Not verified",
    ):
        assert words in card, words
    assert "OpenVINO\n2026.4 by itself" not in card  # the int8 warning


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "trained for 40 epochs from scratch, one seed"),
        ({"init_sha256": "aa"}, "40 epochs on top of earlier weights (SHA-256 aa), one seed"),
        (
            {"init_sha256": "aa", "epochs_before": 8},
            "40 epochs from scratch, in two trainings: 8, and the others from the weights of the first, one",
        ),
        ({"init_sha256": "aa", "epochs_before": 8, "teacher_sha256": "aa"}, "which are its teacher too, one"),
        ({"teacher_sha256": "bb"}, "from scratch, with a teacher (SHA-256 bb), one seed"),
    ],
)
def test_card_says_what_a_training_began_with(
    study: StudyRecord, trial: TrialRecord, told: dict[str, object], words: str
) -> None:
    before = trial.evaluations[Origin.DEPLOYED]
    now = replace(before, protocol={**before.protocol, **told, "train_batch": 8})
    trial = replace(trial, evaluations={Origin.DEPLOYED: now})
    evidence = Evidence(environment=ENVIRONMENT, samples=321)
    card = model_card(study, trial, evidence, None, folder="out", data="pets")
    assert words in card and "train batch 8" in card


AGAIN = Verification(
    ap_stored=0.5,
    ap=0.4999,
    median_ms_stored=5.0,
    median_ms=5.2,
    low_ms=5.1,
    high_ms=5.3,
    target_ms=8.8,
    within_target=True,
)


@pytest.mark.parametrize(
    ("changes", "doubted"),
    [({}, True), ({"low_ms": 4.9}, False), ({"latency_estimated": True}, False)],
)
def test_a_latency_that_comes_out_otherwise_is_remarked(changes: dict[str, Any], doubted: bool) -> None:
    assert ("the stored latency is outside" in describe(replace(AGAIN, **changes))) == doubted


def test_an_estimated_latency_is_not_called_verified(study: StudyRecord, trial: TrialRecord) -> None:
    estimate = EstimateRecord(
        quantity=LATENCY_MS, created_at=NOW, value=5.0, low=4.0, high=6.0, source="a table"
    )
    trial = replace(trial, deployed_latency=None, estimates=(estimate,))
    card = model_card(study, trial, None, AGAIN, folder="out", data="pets")
    assert "| verified | 0.500 | not verified: the device is not here | in new processes |" in card


def test_card_of_a_verified_export_shows_both_figures(study: StudyRecord, trial: TrialRecord) -> None:
    card = model_card(
        study, trial, Evidence(environment=ENVIRONMENT, samples=321), AGAIN, folder="out", data="pets"
    )
    assert "| verified | 0.500 | 5.20 ms | in new processes |" in card
    assert "Not verified" not in card
