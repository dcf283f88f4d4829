"""A study as an Optuna journal, for people who look at searches with optuna-dashboard."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import UserError
from foundation.secrets import mask
from storage.reader import Reader
from storage.records import StudyRecord, TrialRecord
from storage.states import TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


def export_optuna(reader: Reader, name: str, target: Path) -> int:
    """Write a study as a new Optuna journal; returns how many trials it holds.

    Objectives are the deployed AP (up) and latency in ms (down), the limit is a constraint. Parameters are the
    values of the candidates' JSON that differ between trials. A trial over the limit was never trained, so it
    is PRUNED with its latency as an attribute, and `latency_origin` says what that is a latency of, or that it is
    estimated. Raises UserError: no such study, the file exists.
    """
    import optuna

    study = reader.get_study(name)
    trials = reader.trials(study.id)
    if target.exists():
        raise UserError(f"{target} exists already; choose another --out")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    part = target.with_name(target.name + ".part")
    try:
        part.write_bytes(b"")  # an older half would be continued
        _write(study, trials, part)
        part.replace(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return len(trials)


def _write(study: StudyRecord, trials: Sequence[TrialRecord], target: Path) -> None:
    import optuna

    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(target)))
    made = optuna.create_study(study_name=study.name, storage=storage, directions=["maximize", "minimize"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's notes on experimental features
        made.set_metric_names(["AP", "latency_ms"])
    made.set_user_attr("target_latency_ms", study.target_latency_ms)
    axes = _axes([dict(_leaves(trial.spec)) for trial in trials])
    for trial in trials:
        made.add_trial(_frozen(trial, axes))


def _latency(trial: TrialRecord) -> tuple[float, str] | None:
    """The truest latency there is, in ms, and its origin: deployed, untrained or estimated."""
    final, measured, estimate = trial.final_latency, trial.latency, trial.latency_estimate
    if final is not None:
        return final.ms, "estimated" if final.estimated else "deployed"
    if measured is not None:
        return measured.median_ms, str(measured.rung)
    return None if estimate is None else (estimate.value, "estimated")


def _frozen(trial: TrialRecord, axes: Mapping[str, BaseDistribution]) -> FrozenTrial:
    from optuna.trial import TrialState as OptunaState
    from optuna.trial import create_trial

    states = {
        TrialState.WAITING: OptunaState.WAITING,
        TrialState.RUNNING: OptunaState.WAITING,  # nobody runs it there
        TrialState.FINISHED: OptunaState.COMPLETE,
        TrialState.INFEASIBLE: OptunaState.PRUNED,
        TrialState.FAILED: OptunaState.FAIL,
    }
    state, values = states[trial.state], None
    if state is OptunaState.COMPLETE:
        if trial.deployed is None or trial.deployed.ap is None or trial.final_latency is None:
            state = OptunaState.FAIL  # Optuna knows no finished trial without its figures
        else:
            values = [trial.deployed.ap, trial.final_latency.ms]
    params = {name: value for name, value in _leaves(trial.spec) if name in axes}
    constraints = None
    latency = _latency(trial)
    if latency is not None and trial.target_latency_ms:
        constraints = {"latency_over_target": latency[0] / trial.target_latency_ms - 1.0}
    attributes = {
        "number": trial.number,
        "title": trial.title,
        "candidate": trial.candidate_key,
        "state": str(trial.state),
        "reason": mask(trial.reason) if trial.reason else None,
        "params": trial.params,
        "flops": trial.flops,
        "latency_ms": latency[0] if latency else None,
        "latency_origin": latency[1] if latency else None,
    }
    frozen = create_trial(
        state=state,
        values=values,
        params=params,
        distributions={name: axes[name] for name in params},
        user_attrs={name: value for name, value in attributes.items() if value is not None},
        constraints=constraints,
    )
    if state is not OptunaState.WAITING:
        frozen.datetime_start = trial.started_at or trial.created_at
        frozen.datetime_complete = trial.finished_at
    return frozen


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values of a JSON object by dotted name; lists as their JSON text, as Optuna's choices are scalars."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _leaves(inner, f"{prefix}{name}.")
        elif isinstance(inner, list):
            yield f"{prefix}{name}", json.dumps(inner)
        else:
            yield f"{prefix}{name}", inner


def _axes(rows: Iterable[Mapping[str, Any]]) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    seen: defaultdict[str, dict[Any, None]] = defaultdict(dict)
    for row in rows:
        for name, value in row.items():
            seen[name][(type(value), value)] = None
    axes: dict[str, BaseDistribution] = {}
    for name, found in seen.items():
        values = [value for _, value in found]
        if len(values) == 1:
            continue
        if all(type(value) is int for value in values):
            axes[name] = IntDistribution(min(values), max(values))
        elif all(type(value) in (int, float) for value in values):
            axes[name] = FloatDistribution(min(values), max(values))
        else:
            axes[name] = CategoricalDistribution(sorted(values, key=lambda one: (str(type(one)), str(one))))
    return axes
