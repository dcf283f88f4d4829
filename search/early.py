"""When judging a candidate may end early, and how such a verdict is told from a full one."""

from collections.abc import Iterable, Mapping
from typing import Any

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


def of_a_part(protocol: Mapping[str, Any]) -> bool:
    """Whether an AP is that of a part of the images, because judging ended early (`deploying.judged_images`)."""
    return "of_images" in protocol
