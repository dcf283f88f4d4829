"""Decides the next job of a study and keeps what came of it. Knows no Ray and no torch: tested with fakes.

Order of work: candidates left waiting by an interruption, then the fixed trials, then what the sampler
proposes, each with a short training; when the exploring share of the time is used up, the best feasible
candidates are trained longer.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evaluators.artefact import WEIGHTS_FILE
from search.budget import LONGER_TRAINING, TimePlan
from search.early import ap_to_beat
from search.effort import all_epochs, epochs_share, teaching_cost
from search.estimates import Estimator, over_limit
from search.evidence import deployed_evidence, measurement_from, over_target
from search.knowledge import Knowledge
from search.roles import Gate, Judge, JudgementError, Policy, View
from search.stages import TrainJob
from search.study import Known
from storage.errors import LeaseLostError
from storage.follow import StudyFollower
from storage.front import of_a_part
from storage.owners import this_owner
from storage.records import NewMeasurement, StudyRecord, TrialRecord
from storage.repository import Repository
from storage.states import Rung, TrialKind, TrialState
from yolov6space.candidate import Candidate
from yolov6space.space import Space

if TYPE_CHECKING:
    from search.samplers.report import Beliefs

MISFITS_BEFORE_STOP = 5  # proposals in a row whose training would outlast the exploring share
FINALISTS = 3
REFUSALS_BEFORE_STOP = 60  # a limit that nothing meets must not be searched for ever
LONGER, CUT_SHORT = "longer", "cut short"  # kinds of event: a finalist's training ended, or did not
CHOSEN = "chosen"  # kind of event: why a candidate was proposed, or promoted to a longer training
LATE_TOLERANCE = 1.1  # a training is given up when it would outlast the time left by more

T = TypeVar("T")


@dataclass
class Conductor:
    """One run of the driver over one study. Single-threaded; the repository is its only memory."""

    repository: Repository
    study: StudyRecord
    space: Space
    policy: Policy
    plan: TimePlan
    judge: Judge
    view: View
    stopped: Callable[[], bool] = lambda: False
    estimator: Estimator | None = None
    gate: Gate | None = None
    follower: StudyFollower | None = None
    older: Sequence[Known] = ()
    _knowledge: Knowledge = field(init=False)
    _running: dict[int, TrainJob] = field(default_factory=dict)
    _too_long: set[str] = field(default_factory=set)
    _postponed: set[int] = field(default_factory=set)
    _finalists: set[int] = field(default_factory=set)
    _refused_in_a_row: int = 0
    _exploring: bool = True
    _done: bool = False

    def __post_init__(self) -> None:
        self._knowledge = Knowledge(
            self.repository,
            self.study,
            self.space,
            self.policy,
            self.estimator,
            self.follower,
            self.older,
        )

    # -- what runs next -------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether no further job will come in this run."""
        return self._done

    def add_fixed_trials(self) -> None:
        """Put the fixed trials into the study; those it has already are left as they are."""
        known = {trial.candidate_key for trial in self._trials()}
        for name, candidate in self.policy.fixed:
            if candidate.key not in known:
                self._add(candidate, kind=TrialKind.FIXED, name=name)

    def next_job(self) -> TrainJob | None:
        """The next training worth its time; judges latency on the way and refuses what is too slow."""
        while not self.stopped() and not self._done:
            if self._exploring:
                job = self._explore()
                if job is not None:
                    return job
                if self._exploring and self._running:
                    return None  # whoever asks must hear of the running ones, too, and asks again
                if self._exploring:
                    continue
                self.view.event("exploring is over: the best candidates are now trained longer")
            job = self._next_finalist()
            if job is None:
                self._done = not self._running
            return job
        return None

    def _explore(self) -> TrainJob | None:
        """A job, or None after one candidate was refused or after exploring was ended."""
        if self._refused_in_a_row >= REFUSALS_BEFORE_STOP:
            self.view.event(
                f"{self._refused_in_a_row} candidates in a row were over the limit or failed: "
                "allow a larger --target-latency or a smaller --image-size, or widen the --space"
            )
            self._exploring = False
            return None
        waiting = next(
            (
                trial
                for trial in self._trials()
                if trial.state is TrialState.WAITING and trial.id not in self._postponed
            ),
            None,
        )
        if waiting is None and not self.policy.only_fixed:
            waiting = self._propose()
        if waiting is None:
            self._exploring = False
            return None
        job = self._consider(waiting)
        self._refused_in_a_row = 0 if job is not None else self._refused_in_a_row + 1
        return job

    def _propose(self) -> TrialRecord | None:
        """Add the sampler's next candidate whose training fits the exploring share; None ends exploring."""
        trials = self._trials()
        trained = sum(trial.state is TrialState.FINISHED for trial in trials) + len(self._running)
        if self.policy.trials is not None and trained >= self.policy.trials:
            return None
        taken = {trial.candidate_key for trial in trials} | self._too_long
        for _ in range(MISFITS_BEFORE_STOP):
            proposal = self._knowledge.propose(taken)
            if proposal is None:
                self.view.event("the space is exhausted: every candidate has been tried")
                return None
            candidate = proposal.candidate
            if self._training_seconds(candidate, self.policy.epochs) <= self.plan.left_for_exploring():
                added = self._add(candidate, kind=TrialKind.SAMPLED, claim_by=this_owner())
                self.repository.add_event(self.study.id, CHOSEN, proposal.why, trial_id=added)
                return self.repository.trial(added)
            taken.add(candidate.key)
            self._too_long.add(candidate.key)
        return None

    def _consider(self, trial: TrialRecord) -> TrainJob | None:
        """Claim a trial that waits, find out its latency, and make a job of it if it is within the limit."""
        candidate = Candidate.from_dict(trial.spec)
        if trial.state is not TrialState.RUNNING and not self.repository.claim(trial.id):
            return None
        latency_ms = self._latency_within(trial, candidate)
        if latency_ms is None:
            return None
        seconds = self._training_seconds(candidate, self.policy.epochs)
        if seconds > self.plan.left_for_exploring():
            self.repository.release(trial.id)
            self._postponed.add(trial.id)
            self.view.event(
                f"trial {trial.number} {trial.title}: within the limit, but training it takes about "
                f"{seconds / 60:.0f} min; waits for a run with a larger --time-budget"
            )
            return None
        if self.gate is not None and self._asked(trial, self.gate) is None:
            return None
        job = TrainJob(trial_id=trial.id, candidate=dict(trial.spec), epochs=self.policy.epochs)
        if trial.kind is not TrialKind.FIXED:  # fixed trials are there to be known exactly
            beat = ap_to_beat(self._trials(), latency_ms=latency_ms, epochs=self.policy.epochs)
            job = replace(job, ap_to_beat=beat)
        return self._start(job)

    def _latency_within(self, trial: TrialRecord, candidate: Candidate) -> float | None:
        """Latency of a claimed trial, estimated or measured; None where it, or a failure, ended the trial."""
        estimate = self._knowledge.estimate(candidate)
        if estimate is not None and self._knowledge.too_slow(estimate):
            reason = over_limit(estimate, self.policy.target_ms)
            self.repository.infeasible(trial.id, estimate, reason, owner=this_owner())
            return None
        if self.policy.estimated and estimate is not None:
            if trial.latency_estimate is None:
                self.repository.record(trial.id, estimates=[estimate])
            return estimate.value
        if trial.untrained_latency is not None:
            return trial.untrained_latency.median_ms
        measured = self._asked(trial, lambda spec: measurement_from(self.judge(spec), Rung.UNTRAINED))
        if measured is None:
            return None
        over = over_target(measured, self.policy.target_ms)
        if over is not None:
            self.repository.infeasible(trial.id, measured, over, owner=this_owner())
            self.view.event(f"trial {trial.number} {trial.title}: over the limit, {over}")
            return None
        self.repository.record(trial.id, measurements=[measured])
        return measured.median_ms

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

    def _next_finalist(self) -> TrainJob | None:
        """The best feasible candidate that was not trained longer yet, for as long as time allows."""
        if self.policy.only_fixed or len(self._finalists) >= FINALISTS or self._running:
            return None
        best, others = self._best_of_those_trained_once()
        if best is None:
            return None
        last = not others or len(self._finalists) == FINALISTS - 1
        candidate = Candidate.from_dict(best.spec)
        gflops = self._knowledge.gflops(candidate) * teaching_cost(candidate)
        epochs = min(
            round(self.policy.epochs * LONGER_TRAINING),
            self.plan.epochs_within(
                self.plan.left() * (0.9 if last else 0.55),
                gflops,
                self.policy.train_images * epochs_share(candidate.model),
            ),
        )
        if epochs < max(1, self.policy.epochs // 2):
            return None
        self._finalists.add(best.id)
        self.view.event(f"trial {best.number} {best.title}: finalist, {epochs} more epochs")
        return self._start(
            TrainJob(
                trial_id=best.id,
                candidate=dict(best.spec),
                epochs=epochs,
                epochs_before=self.policy.epochs,
                init_weights=self._weights(best),
            )
        )

    def _best_of_those_trained_once(self) -> tuple[TrialRecord | None, int]:
        """The one to train longer, by the expected gain of the front; and how many are left.

        Candidates outside a narrowed space are not modelled and come after all others, by their AP.
        """
        trials = [trial for trial in self._trials() if trial.feasible]
        hopeful = self._knowledge.promising()
        places = {proposal.candidate.key: -place for place, proposal in enumerate(hopeful)}
        events = self.repository.events(self.study.id, kinds=[LONGER], limit=100_000)
        tried = self._finalists | {event.trial_id for event in events}
        ranked = []
        for trial in trials:
            deployed = trial.deployed
            if deployed is None or deployed.ap is None or trial.id in tried or of_a_part(deployed.protocol):
                continue
            if (deployed.epochs or 0) > self.policy.epochs:
                continue
            place = places.get(trial.candidate_key)
            if place is None and Candidate.from_dict(trial.spec) in self.space:
                continue  # its best credible AP does not reach the front
            ranked.append(((place is not None, place or 0, deployed.ap), trial))
        ranked.sort(key=lambda pair: pair[0], reverse=True)
        return (ranked[0][1], len(ranked) - 1) if ranked else (None, 0)

    def _start(self, job: TrainJob) -> TrainJob:
        if math.isfinite(self.plan.left()):
            job = replace(job, deadline=time.time() + self.plan.left() * LATE_TOLERANCE)
        self._running[job.trial_id] = job
        return job

    # -- what came of it ------------------------------------------------------------------------------

    def progressed(self, job: TrainJob, progress: Mapping[str, Any]) -> None:
        """Show how far a training is."""
        self.view.training(self.repository.trial(job.trial_id), progress)

    def succeeded(self, job: TrainJob, result: Mapping[str, Any]) -> None:
        """Store a result of `train_and_deploy`; a longer training counts only where it is better.

        A result that lacks a figure or holds an impossible one fails the trial, nothing else.
        """
        self._running.pop(job.trial_id, None)
        try:
            self._store(job, result)
        except (KeyError, TypeError, ValueError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            self.failed(job, f"its result cannot be used: {what}")

    def _store(self, job: TrainJob, result: Mapping[str, Any]) -> None:
        trial = self.repository.trial(job.trial_id)
        candidate = Candidate.from_dict(job.candidate)
        gflops = self._knowledge.gflops(candidate) * (teaching_cost(candidate) if job.distils else 1.0)
        evidence = deployed_evidence(result)
        self.plan.learn(
            gflops, result["images_seen"], result["training_seconds"], result["deployed"]["seconds"]
        )
        ap, measured = evidence.deployed.ap, evidence.measurement
        words = f"AP {'undefined' if ap is None else f'{ap:.3f}'}, {_latency_words(measured, trial)}"
        if of_a_part(evidence.deployed.protocol):
            images = evidence.deployed.protocol["images"]
            words += f" (from {images} images: AP is clearly below that of a faster network)"
        if trial.state is TrialState.RUNNING:
            self.repository.finish(trial.id, **evidence.to_store())
            self.view.event(f"trial {trial.number} {trial.title}: {words} after {job.epochs} epochs")
            return
        before = trial.deployed.ap if trial.deployed else None
        over = None if measured is None else over_target(measured, self.policy.target_ms)
        if over is None and ap is not None and (before is None or ap > before):
            self.repository.add_evidence(trial.id, **evidence.to_store())
            outcome = f"{words} after {job.epochs_before + job.epochs} epochs"
        else:
            outcome = f"longer training gave {words}: the earlier weights are kept"
        self.repository.add_event(self.study.id, LONGER, outcome, trial_id=trial.id)
        self.view.event(f"trial {trial.number} {trial.title}: {outcome}")

    def lost(self, job: TrainJob, cause: str) -> None:
        """A job whose worker is gone: it is tried again, at most `MAX_ATTEMPTS` times in all its runs."""
        self._running.pop(job.trial_id, None)
        trial = self.repository.trial(job.trial_id)
        if trial.state is not TrialState.RUNNING:
            text = f"longer training: {cause}: the earlier weights are kept"
            self.repository.add_event(self.study.id, LONGER, text, trial_id=trial.id)
            self.view.event(f"trial {trial.number} {trial.title}: {text}")
            return
        state = self.repository.lost(trial.id, cause)
        self._exploring = self._exploring or state is TrialState.WAITING
        then = "it is tried again" if state is TrialState.WAITING else "given up"
        self.view.event(f"trial {trial.number} {trial.title}: {cause}; {then}")

    def failed(self, job: TrainJob, reason: str, *, out_of_time: bool = False) -> None:
        """Store why a job gave no result; one that was only cut short waits for the next run."""
        self._running.pop(job.trial_id, None)
        trial = self.repository.trial(job.trial_id)
        self.view.event(f"trial {trial.number} {trial.title}: {reason}")
        if trial.state is not TrialState.RUNNING:
            self.repository.add_event(
                self.study.id,
                CUT_SHORT if out_of_time else LONGER,
                f"longer training: {reason}",
                trial_id=trial.id,
            )
        elif out_of_time:
            self._postponed.add(trial.id)
            self.repository.release(trial.id)
        else:
            self.repository.fail(trial.id, reason, owner=this_owner())

    def release_running(self) -> None:
        """Put what still runs back to waiting: the run is being ended on purpose."""
        for trial in self._trials():
            if trial.state is TrialState.RUNNING and trial.id in self._running:
                with contextlib.suppress(LeaseLostError):
                    self.repository.release(trial.id)
        self._running.clear()

    def _weights(self, trial: TrialRecord) -> str:
        assert trial.deployed is not None
        built = {one.hash: one.path for one in self.repository.artefacts(trial.id)}
        return str(Path(built[str(trial.deployed.artefact_hash)]) / WEIGHTS_FILE)

    # -- small things ---------------------------------------------------------------------------------

    def _trials(self) -> list[TrialRecord]:
        return self._knowledge.trials()

    def _add(
        self,
        candidate: Candidate,
        *,
        kind: TrialKind,
        name: str | None = None,
        claim_by: str | None = None,
    ) -> int:
        price = self._knowledge.price(candidate)
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

    def beliefs(self) -> Beliefs | None:
        """What the search believes now; None while it knows too little."""
        return self._knowledge.beliefs()

    def _training_seconds(self, candidate: Candidate, epochs: int) -> float:
        passes = all_epochs(candidate.model, epochs)
        return self.plan.seconds_for(self._knowledge.gflops(candidate), self.policy.train_images, passes)


def _latency_words(measured: NewMeasurement | None, trial: TrialRecord) -> str:
    if measured is not None:
        return f"{measured.median_ms:.2f} ms"
    estimate = trial.latency_estimate
    return "latency unknown" if estimate is None else f"{estimate.value:.2f} ms estimated"
