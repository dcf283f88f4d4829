"""The Pareto front: AP is maximised, latency is minimised, both of the deployed network.

The latency is measured on the deployed artefact, or estimated where the device is not here.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from storage.records import TrialRecord


def non_dominated(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats, by rising latency.

    Args:
        points: (AP, latency); a point is beaten by one that is no worse in both and better in one, so equal
            points stand side by side.
    """
    order = sorted(range(len(points)), key=lambda index: (points[index][1], -points[index][0]))
    kept: list[int] = []
    for index in order:
        if not kept or points[index][0] > points[kept[-1]][0] or points[index] == points[kept[-1]]:
            kept.append(index)
    return kept


def of_a_part(protocol: Mapping[str, Any]) -> bool:
    """Whether an AP is that of some of the images only, because judging ended early: clearly below a rival's."""
    return "of_images" in protocol


def pareto_front(trials: Iterable[TrialRecord], *, feasible_only: bool = True) -> list[TrialRecord]:
    """The trials on the front, by rising latency; only those with a deployed AP and a latency can be on it.

    An AP of a part of the images compares with no other, so its trial is not on it either.

    Args:
        feasible_only: leave out those over the study's limit; a study without one has no such.
    """
    deployed = []
    points = []
    for trial in trials:
        if trial.deployed is None or trial.deployed.ap is None or trial.final_latency is None:
            continue
        if of_a_part(trial.deployed.protocol):
            continue
        if feasible_only and trial.feasible is False:
            continue
        deployed.append(trial)
        points.append((trial.deployed.ap, trial.final_latency.ms))
    return [deployed[index] for index in non_dominated(points)]


def best_feasible(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """The trial of the highest deployed AP within the limit; the faster one of equals."""
    front = pareto_front(trials)
    if not front:
        return None
    return min(front, key=lambda trial: (-_ap(trial), _latency_ms(trial)))


def _ap(trial: TrialRecord) -> float:
    assert trial.deployed is not None and trial.deployed.ap is not None
    return trial.deployed.ap


def _latency_ms(trial: TrialRecord) -> float:
    assert trial.final_latency is not None
    return trial.final_latency.ms
