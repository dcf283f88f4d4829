"""What is known about every trial, in SQL: `Repository` writes and reads, records are plain values."""

from storage.errors import DuplicateCandidateError, LeaseLostError, RecordRefusedError
from storage.owners import owner_alive, this_owner
from storage.records import (
    LATENCY_MS,
    ArtefactRecord,
    EstimateRecord,
    EvaluationRecord,
    EventRecord,
    MeasurementRecord,
    NewArtefact,
    NewEstimate,
    NewEvaluation,
    NewMeasurement,
    StudyRecord,
    TrialRecord,
)
from storage.repository import Repository
from storage.states import Origin, Rung, TrialKind, TrialState
from storage.urls import url_default

__all__ = [
    "LATENCY_MS",
    "ArtefactRecord",
    "DuplicateCandidateError",
    "EstimateRecord",
    "EvaluationRecord",
    "EventRecord",
    "LeaseLostError",
    "MeasurementRecord",
    "NewArtefact",
    "NewEstimate",
    "NewEvaluation",
    "NewMeasurement",
    "Origin",
    "RecordRefusedError",
    "Repository",
    "Rung",
    "StudyRecord",
    "TrialKind",
    "TrialRecord",
    "TrialState",
    "owner_alive",
    "this_owner",
    "url_default",
]
