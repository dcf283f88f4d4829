"""New trials of a study: what the sampler proposes, as far as there is time to train it."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from search.budget import TimePlan
from search.effort import all_epochs, qat_epochs
from search.knowledge import Knowledge
from search.roles import Policy, View
from search.units import in_time
from storage.owners import this_owner
from storage.records import StudyRecord, TrialRecord
from storage.repository import Repository
from storage.states import TrialKind, TrialState
from yolov6space.candidate import Candidate

TRAININGS_AFTER_A_LOOK = 3  # for which there must be time
CHOSEN = "chosen"  # kind of event: why a candidate was proposed


@dataclass
class Proposals:
    """Those of one run.

    Attributes:
        enough: whether exploring ended because of `policy.trials`.
    """

    repository: Repository
    study: StudyRecord
    knowledge: Knowledge
    policy: Policy
    plan: TimePlan
    view: View
    enough: bool = False

    def next(self, running: int) -> tuple[TrialRecord | None, bool]:
        """The sampler's next candidate of those whose training fits what is left to explore, in the study and claimed
        by now, and whether it is to be looked at first; None ends exploring.
        """
        trials = self.knowledge.trials()
        trained = sum(trial.state is TrialState.FINISHED for trial in trials) + running
        self.enough = self.policy.trials is not None and trained >= self.policy.trials
        if self.enough:
            return None, False
        known = {trial.candidate_key: trial.id for trial in trials}
        left = self.time_left()

        def affordable(candidate: Candidate) -> bool:
            return self._seconds(candidate) <= left

        proposal = self.knowledge.propose(known.keys(), affordable if math.isfinite(left) else None)
        if proposal is None:
            self.view.event(self._nothing_left(known.keys(), left))
            return None, False
        candidate = proposal.candidate
        added = known.get(candidate.key)
        if added is None:
            added = self.add(candidate, kind=TrialKind.SAMPLED, claim_by=this_owner())
        self.repository.add_event(self.study.id, CHOSEN, proposal.why, trial_id=added)
        return self.repository.trial(added), proposal.look and self._time_for_looks(candidate)

    def _nothing_left(self, taken: Collection[str], left: float) -> str:
        """Why the sampler has no candidate."""
        if len(taken) >= self.knowledge.space.size:
            return "the space is exhausted: every candidate has been tried"
        other = self.knowledge.propose(taken) if math.isfinite(left) else None
        if other is not None:
            takes = in_time(self._seconds(other.candidate))
            return (
                f"{in_time(left)} left to explore: too little to measure and train any other network that may be "
                f"within the limit (the most promising would take {takes}); allow a larger --time-budget"
            )
        return (
            f"no candidate that was not tried is likely within {self.policy.target_ms:g} ms: allow a larger "
            "--target-latency, a smaller --image-size, or smaller networks in --space"
        )

    def _time_for_looks(self, candidate: Candidate) -> bool:
        """Whether trainings fit after a look; else it would have been the last thing that exploring did."""
        return TRAININGS_AFTER_A_LOOK * self.training_seconds(candidate) <= self.time_left()

    def time_left(self) -> float:
        """Seconds left to explore; all that the run has until there is a network that could be trained longer."""
        trained = any(trial.state is TrialState.FINISHED for trial in self.knowledge.trials())
        return self.plan.left_for_exploring() if trained else self.plan.left()

    def add(
        self,
        candidate: Candidate,
        *,
        kind: TrialKind,
        name: str | None = None,
        claim_by: str | None = None,
    ) -> int:
        """Put a candidate into the study; returns the id of its trial."""
        price = self.knowledge.price(candidate)
        return self.repository.add_trial(
            self.study.id,
            candidate.key,
            candidate.to_dict(),
            kind=kind,
            name=name,
            label=candidate.label,
            params=price.params,
            flops=price.flops,
            claim_by=claim_by,
        )

    def _seconds(self, candidate: Candidate) -> float:
        """Of a candidate that nothing is known of, foretold."""
        return self.plan.measuring_seconds + self.training_seconds(candidate)

    def training_seconds(self, candidate: Candidate) -> float:
        """Of an exploring training with its deployment, foretold."""
        gflops, images = self.knowledge.gflops(candidate), self.policy.train_images
        tuning = self.plan.tuning_seconds(gflops, images, qat_epochs(candidate, self.policy.epochs))
        return self.plan.seconds_for(gflops, images, all_epochs(candidate.model, self.policy.epochs)) + tuning
