"""When judging a candidate may end early."""

from collections.abc import Iterable

from storage.front import of_a_part
from storage.records import TrialRecord


def ap_to_beat(trials: Iterable[TrialRecord], *, latency_ms: float, epochs: int) -> float | None:
    """AP of the best feasible network that is as fast and was trained no longer; None when there is none.

    A candidate of this latency that stays below it cannot enter the front.
    """
    rivals = (
        (trial.deployed, trial.final_latency)
        for trial in trials
        if trial.feasible and trial.deployed and trial.final_latency
    )
    return max(
        (
            deployed.ap
            for deployed, latency in rivals
            if deployed.ap is not None
            and latency.ms <= latency_ms
            and (deployed.epochs or 0) <= epochs
            and not of_a_part(deployed.protocol)
        ),
        default=None,
    )
