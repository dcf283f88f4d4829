"""What is known of a study, in the form that choosing the next candidate and foretelling its latency need."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

from evaluators.latency.bound import lower_bound_ms
from search.estimates import Estimator
from search.roles import Policy
from search.study import Known, Proposal, Question, believed, promising, propose
from storage.follow import StudyFollower
from storage.front import of_a_part
from storage.records import LATENCY_MS, EvaluationRecord, NewEstimate, StudyRecord, TrialRecord
from storage.repository import Repository
from storage.states import Origin
from yolov6space.candidate import Candidate
from yolov6space.cost import Cost, cost
from yolov6space.space import Space

if TYPE_CHECKING:
    from search.samplers.report import Beliefs


@dataclass
class Knowledge:
    """Reads a study as it grows; only what changed is read again.

    Attributes:
        estimator: foretells latencies on this device; None for one that nobody calibrated.
        follower: who reads the study; one that others use too spares reading all of it again.
        older: what an older study or the paper found out.
        look_cost: of a look with inherited weights, as a share of an exploring training; None for no such looks.
    """

    repository: Repository
    study: StudyRecord
    space: Space
    policy: Policy
    estimator: Estimator | None = None
    follower: StudyFollower | None = None
    older: Sequence[Known] = ()
    look_cost: float | None = None
    _follower: StudyFollower = field(init=False)
    _known_of: dict[int, tuple[TrialRecord, Known]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._follower = self.follower or StudyFollower(self.repository, self.study.id)

    def trials(self) -> list[TrialRecord]:
        """All trials of the study by number."""
        return self._follower.trials()

    def propose(
        self, taken: Collection[str], affordable: Callable[[Candidate], bool] | None = None
    ) -> Proposal | None:
        """The sampler's next candidate whose key is not in `taken`; None where `study.propose` has none.

        One that was only looked at so far may be proposed again. No other than an `affordable` one is.
        """
        question = replace(self._question(), affordable=affordable)
        return propose(self.space, self._all_known(), taken, question)

    def promising(self) -> list[Proposal]:
        """Feasible candidates worth a longer training, best first (see `study.promising`)."""
        known = [self._known(trial) for trial in self.trials() if trial.feasible]
        return promising(self.space, known, self._question())

    def beliefs(self) -> Beliefs | None:
        """What the search believes now; None while it knows too little."""
        return believed(self.space, self._all_known(), self._question())

    def price(self, candidate: Candidate) -> Cost:
        """Parameters and FLOPs of the candidate in this study."""
        size = candidate.image_size or self.policy.image_size
        return cost(candidate.model, num_classes=self.policy.num_classes, image_size=size)

    def gflops(self, candidate: Candidate) -> float:
        """GFLOPs of one forward pass."""
        return self.price(candidate).flops / 1e9

    def estimate(self, candidate: Candidate) -> NewEstimate | None:
        """By the model of this device where it was calibrated, else from FLOPs by what was measured here."""
        if self.estimator is not None:
            return self.estimator(candidate)
        spec = candidate.to_dict()
        pairs = [
            (trial.flops, trial.latency.median_ms)
            for trial in self.trials()
            if trial.flops
            and trial.latency
            and all(trial.spec[name] == spec[name] for name in ("precision", "image_size"))
        ]
        estimate = lower_bound_ms(self.gflops(candidate) * 1e9, pairs)
        if estimate is None:
            return None
        return NewEstimate(
            quantity=LATENCY_MS,
            value=estimate.value_ms,
            low=estimate.low_ms,
            high=estimate.high_ms,
            source=estimate.source,
        )

    def too_slow(self, estimate: NewEstimate) -> bool:
        """The best guess decides where nothing better will come, else only what is beyond doubt."""
        least = estimate.value if self.policy.estimated else estimate.low
        return least > self.policy.target_ms

    def _all_known(self) -> list[Known]:
        return [*self.older, *(self._known(trial) for trial in self.trials())]

    def _known(self, trial: TrialRecord) -> Known:
        before = self._known_of.get(trial.id)
        if before is not None and before[0] is trial:  # unchanged since: the same record
            return before[1]
        known = read_known(trial)
        self._known_of[trial.id] = (trial, known)
        return known

    def _deciding_estimate(self, candidate: Candidate) -> float:
        """Milliseconds, where nothing is measured."""
        assert self.estimator is not None  # a device that is not here is one that can be estimated
        return self.estimator(candidate).value

    def _question(self) -> Question:
        return Question(
            target_ms=self.policy.target_ms,
            sampler=self.policy.sampler,
            seed=self.policy.seed,
            focus=self.policy.focus,
            num_classes=self.policy.num_classes,
            image_size=self.policy.image_size,
            batch=self.policy.batch,
            estimate=self._deciding_estimate if self.policy.estimated else None,
            calibration=self.policy.calibration,
            look_cost=self.look_cost,
        )


def read_known(trial: TrialRecord) -> Known:
    """What a stored trial says; its latency is the measured one, else the estimate.

    An AP of a part of the images comes with its standard error; after a longer training it is left out.
    """
    latency = trial.latency.median_ms if trial.latency else None
    if latency is None:
        latency = trial.latency_estimate.value if trial.latency_estimate else None
    if latency is not None and not 0.0 < latency < math.inf:
        latency = None  # a row that no measurement wrote teaches nothing
    first, newest = trial.first_deployed, trial.evaluations.get(Origin.DEPLOYED)
    shared = trial.evaluations.get(Origin.SHARED)
    longer = newest is not None and first is not None and (newest.epochs or 0) > (first.epochs or 0)
    return Known(
        Candidate.from_dict(trial.spec),
        latency,
        first.ap if first else None,
        ended=trial.state.is_finished,
        longer_ap=newest.ap if newest and longer and not of_a_part(newest.protocol) else None,
        ap_error=_error(first) if first else 0.0,
        shared_ap=shared.ap if shared else None,
        only_looked_at=trial.only_looked_at,
    )


def _error(judged: EvaluationRecord) -> float:
    """Standard error of an AP, from the interval that ended its judgement early; 0 for one of all images."""
    from evaluators.accuracy.judge import VERDICT_CONFIDENCE

    if not of_a_part(judged.protocol):
        return 0.0
    reach = NormalDist().inv_cdf((1.0 + VERDICT_CONFIDENCE) / 2.0)
    return float(judged.protocol["ap_high"] - judged.protocol["ap_low"]) / (2.0 * reach)
