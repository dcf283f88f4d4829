"""Records into tables of plain values; no drawing, no database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from charts.info import describe, precision_label
from storage.records import EvaluationRecord, EventRecord, TrialRecord
from storage.states import Origin, TrialKind

if TYPE_CHECKING:
    import pandas as pd

TRUEST_FIRST = (Origin.DEPLOYED, Origin.TRAINED, Origin.SHARED, Origin.ESTIMATED)
_FEASIBLE = {True: "yes", False: "no", None: "–"}


def trial_table(trials: Iterable[TrialRecord]) -> pd.DataFrame:
    """One row a trial. Every AP and latency stands beside where it is from."""
    import pandas as pd

    return pd.DataFrame([_row(trial) for trial in trials], columns=list(COLUMNS))


COLUMNS = (
    "trial",
    "candidate",
    "kind",
    "state",
    "AP",
    "AP50",
    "AP from",
    "latency_ms",
    "interval_ms",
    "latency from",
    "within limit",
    "params_m",
    "flops_g",
    "precision",
    "reason",
)


def _row(trial: TrialRecord) -> dict[str, Any]:
    evaluation = truest(trial)
    latency_ms, interval_ms, latency_from = _latency(trial)
    return {
        "trial": trial.number,
        "candidate": trial.title,
        "kind": "official" if trial.kind is TrialKind.FIXED else "sampled",
        "state": str(trial.state),
        "AP": evaluation.ap if evaluation else None,
        "AP50": evaluation.ap50 if evaluation else None,
        "AP from": str(evaluation.origin) if evaluation else "",
        "latency_ms": latency_ms,
        "interval_ms": interval_ms,
        "latency from": latency_from,
        "within limit": _FEASIBLE[trial.feasible],
        "params_m": None if trial.params is None else trial.params / 1e6,
        "flops_g": None if trial.flops is None else trial.flops / 1e9,
        "precision": precision_label(trial.spec),
        "reason": trial.reason or "",
    }


def truest(trial: TrialRecord) -> EvaluationRecord | None:
    """The evaluation of the highest rung of evidence that the trial has reached."""
    return next((trial.evaluations[origin] for origin in TRUEST_FIRST if origin in trial.evaluations), None)


def _latency(trial: TrialRecord) -> tuple[float | None, str, str]:
    measured = trial.latency
    if measured is not None:
        return measured.median_ms, f"{measured.low_ms:.2f} – {measured.high_ms:.2f}", str(measured.rung)
    estimate = trial.latency_estimate
    if estimate is not None:
        return estimate.value, f"{estimate.low:.2f} – {estimate.high:.2f}", "estimated"
    return None, "", ""


def evidence_table(trial: TrialRecord) -> pd.DataFrame:
    """Everything that was found out about a trial, by rung."""
    import pandas as pd

    rows = [
        {
            "evidence": f"AP, {evaluation.origin}",
            "value": "undefined" if evaluation.ap is None else f"{evaluation.ap:.4f}",
            "of": describe(evaluation.protocol),
            "at": evaluation.created_at,
        }
        for evaluation in trial.evaluations.values()
    ]
    rows += [
        {
            "evidence": f"latency, {measured.rung}",
            "value": f"{measured.median_ms:.3f} ms ({measured.low_ms:.3f} – {measured.high_ms:.3f})",
            "of": describe(measured.workload),
            "at": measured.created_at,
        }
        for measured in (trial.deployed_latency, trial.untrained_latency)
        if measured is not None
    ]
    rows += [
        {
            "evidence": f"{estimate.quantity.replace('_', ' ')}, estimated",
            "value": f"{estimate.value:.3f} ({estimate.low:.3f} – {estimate.high:.3f})",
            "of": estimate.source,
            "at": estimate.created_at,
        }
        for estimate in trial.estimates
    ]
    return pd.DataFrame(rows, columns=["evidence", "value", "of", "at"])


def event_table(events: Sequence[EventRecord]) -> pd.DataFrame:
    """What happened, oldest first; times are UTC."""
    import pandas as pd

    rows = [{"at": event.at, "event": event.kind, "message": event.message} for event in events]
    return pd.DataFrame(rows, columns=["at", "event", "message"])
