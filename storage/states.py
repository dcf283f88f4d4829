"""The words that the schema allows: states and kinds of trials, origins of evidence, rungs of latency."""

from enum import StrEnum


class TrialState(StrEnum):
    """waiting -> running -> finished | infeasible | failed; a lost or released trial goes back to waiting.

    `infeasible` (over the latency limit) and `failed` always carry a reason and, like `finished`, are final.
    """

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    INFEASIBLE = "infeasible"
    FAILED = "failed"

    @property
    def is_finished(self) -> bool:
        """Whether nothing may change any more."""
        return self in (TrialState.FINISHED, TrialState.INFEASIBLE, TrialState.FAILED)


class TrialKind(StrEnum):
    """Where the candidate came from: a named variant that is always tried, or the sampler."""

    FIXED = "fixed"
    SAMPLED = "sampled"


class Origin(StrEnum):
    """Rungs of evidence for AP, each dearer and truer than the one before; one is never shown as another."""

    PUBLISHED = "published"
    ESTIMATED = "estimated"
    SHARED = "shared"
    TRAINED = "trained"
    DEPLOYED = "deployed"


class Rung(StrEnum):
    """What a latency was measured on: an untrained network of the same shape, or the deployed artefact."""

    UNTRAINED = "untrained"
    DEPLOYED = "deployed"
