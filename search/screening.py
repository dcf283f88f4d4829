"""What is found out about a candidate before it may be trained: its latency, and that a compiler takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from search.estimates import over_limit
from search.evidence import measurement_from, over_target, shared_evaluation, undecided
from search.knowledge import Knowledge
from search.roles import Gate, Judge, JudgementError, SharedRung, View
from storage.owners import this_owner
from storage.records import TrialRecord
from storage.repository import Repository
from storage.states import Rung, TrialKind
from yolov6space.candidate import Candidate

T = TypeVar("T")


@dataclass(frozen=True)
class Screening:
    """Looks at claimed trials and ends those that must not be trained."""

    repository: Repository
    knowledge: Knowledge
    judge: Judge
    gate: Gate | None
    view: View

    def latency_within(self, trial: TrialRecord, candidate: Candidate) -> float | None:
        """Latency of a claimed trial, estimated or measured; None where it, or a failure, ended the trial.

        Also None, and the trial waits again, where the machine was too disturbed to tell.
        """
        policy, estimate = self.knowledge.policy, self.knowledge.estimate(candidate)
        if estimate is not None and self.knowledge.too_slow(estimate):
            reason = over_limit(estimate, policy.target_ms)
            self.repository.infeasible(trial.id, estimate, reason, owner=this_owner())
            if trial.kind is TrialKind.FIXED:  # what nobody asked for by name is refused without a word
                self.view.event(f"trial {trial.number} {trial.title}: over the limit, {reason}")
            return None
        if policy.estimated and estimate is not None:
            if trial.latency_estimate is None:
                self.repository.record(trial.id, estimates=[estimate])
            return estimate.value
        if trial.untrained_latency is not None:
            return trial.untrained_latency.median_ms
        measured = self._asked(trial, lambda spec: measurement_from(self.judge(spec), Rung.UNTRAINED))
        if measured is None:
            return None
        over = over_target(measured, policy.target_ms)
        if undecided(measured, policy.target_ms):
            self.repository.release(trial.id)
            self.view.event(
                f"trial {trial.number} {trial.title}: perhaps within the limit, {over}; waits to be measured by "
                "another run, on a quieter machine"
            )
            return None
        if over is not None:
            self.repository.infeasible(trial.id, measured, over, owner=this_owner())
            self.view.event(f"trial {trial.number} {trial.title}: over the limit, {over}")
            return None
        self.repository.record(trial.id, measurements=[measured])
        return measured.median_ms

    def compiles(self, trial: TrialRecord) -> bool:
        """Whether the device's compiler takes a claimed trial, where there is one to ask; a refusal ended the trial."""
        return self.gate is None or self._asked(trial, self.gate) is not None

    def looked_at(self, trial: TrialRecord, rung: SharedRung) -> bool:
        """Find out AP of a claimed trial with inherited weights, and let it wait; False where they cannot tell.

        It is trained at once then, as if there were no such rung.
        """
        try:
            told = rung.look(dict(trial.spec))
            if told is None:
                return False
            evaluation = shared_evaluation(told)
        except (JudgementError, KeyError, TypeError, ValueError) as error:
            self.view.event(f"trial {trial.number} {trial.title}: no look with inherited weights: {error}")
            return False
        except BaseException:
            self.repository.release(trial.id)
            raise
        self.repository.record(trial.id, evaluations=[evaluation])
        self.repository.release(trial.id)
        ap = "undefined" if evaluation.ap is None else f"{evaluation.ap:.4f}"
        self.view.event(f"trial {trial.number} {trial.title}: AP {ap} with inherited weights")
        return True

    def _asked(self, trial: TrialRecord, ask: Callable[[dict[str, Any]], T]) -> T | None:
        """What was found out about a claimed trial's candidate; None where a failure ended the trial."""
        try:
            return ask(dict(trial.spec))
        except (JudgementError, KeyError, TypeError, ValueError) as error:
            reason = str(error) if isinstance(error, JudgementError) else f"no usable answer: {error!r}"
            self.repository.fail(trial.id, reason, owner=this_owner())
            self.view.event(f"trial {trial.number} {trial.title}: failed: {reason}")
            return None
        except BaseException:
            self.repository.release(trial.id)  # the machine or the person stopped it, not the candidate
            raise
