"""Decides the next job of a study and keeps what came of it. Knows no Ray and no torch: tested with fakes.

Order of work: candidates left waiting by an interruption, then the fixed trials, then what the sampler
proposes, each with a short training; when the exploring share of the time is used up, the best feasible
candidates are trained longer (`finalists.py`).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from search.budget import TimePlan
from search.early import ap_to_beat
from search.effort import teaching_cost
from search.estimates import Estimator
from search.evidence import deployed_evidence, in_words
from search.finalists import Finalists
from search.knowledge import Knowledge
from search.proposals import Proposals
from search.roles import Gate, Judge, Policy, SharedRung, View
from search.screening import Screening
from search.stages import TrainJob
from search.study import Known
from search.units import in_time
from storage.errors import LeaseLostError
from storage.follow import StudyFollower
from storage.owners import this_owner
from storage.records import StudyRecord, TrialRecord
from storage.repository import Repository
from storage.states import TrialKind, TrialState
from yolov6space.candidate import Candidate
from yolov6space.space import Space

if TYPE_CHECKING:
    from search.samplers.report import Beliefs

REFUSALS_BEFORE_STOP = 60  # a limit that nothing meets must not be searched for ever
LATE_TOLERANCE = 1.1  # a training is given up when it would outlast the time left by more


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
    _shared: SharedRung | None = field(init=False, default=None)
    _knowledge: Knowledge = field(init=False)
    _proposals: Proposals = field(init=False)
    _screening: Screening = field(init=False)
    _finalists: Finalists = field(init=False)
    _running: dict[int, TrainJob] = field(default_factory=dict)
    _postponed: set[int] = field(default_factory=set)
    _pace: dict[int, float] = field(default_factory=dict)  # images per second of the last training, by trial
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
        self._proposals = Proposals(
            self.repository, self.study, self._knowledge, self.policy, self.plan, self.view
        )
        self._screening = Screening(self.repository, self._knowledge, self.judge, self.gate, self.view)
        self._finalists = Finalists(self.repository, self.study, self.plan, self._knowledge, self.view)

    @property
    def done(self) -> bool:
        """Whether no further job will come in this run."""
        return self._done

    def use(self, shared: SharedRung) -> None:
        """Look at candidates with inherited weights before they are trained."""
        self._shared = shared
        self._knowledge.look_cost = shared.cost

    def add_fixed_trials(self) -> None:
        """Put the fixed trials into the study; those it has already are left as they are."""
        known = {trial.candidate_key for trial in self._trials()}
        for name, candidate in self.policy.fixed:
            if candidate.key not in known:
                self._proposals.add(candidate, kind=TrialKind.FIXED, name=name)

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
            if self._running:
                return None
            job = self._finalists.next_job()
            self._done = job is None
            return None if job is None else self._start(job)
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
        if self._proposals.time_left() <= 0:
            self.view.event("the time to explore is used up: what waits is neither measured nor trained now")
            self._exploring = False
            return None
        open_trials = (trial for trial in self._trials() if trial.id not in self._postponed)
        waiting = next(
            (one for one in open_trials if one.state is TrialState.WAITING and not one.only_looked_at), None
        )
        look = False
        if waiting is None and not self.policy.only_fixed:
            waiting, look = self._proposals.next(len(self._running))
        if waiting is None:
            self._exploring = False
            return None
        self._refused_in_a_row += 1
        job = self._consider(waiting, look)
        if job is not None:
            self._refused_in_a_row = 0
        return job

    def _consider(self, trial: TrialRecord, look: bool) -> TrainJob | None:
        """Claim a trial that waits, find out its latency, and make a job of it if it is within the limit.

        Args:
            look: with inherited weights, which is all that is done then where they can tell.
        """
        candidate = Candidate.from_dict(trial.spec)
        if trial.state is not TrialState.RUNNING and not self.repository.claim(trial.id):
            return None
        asked_at = self.plan.clock()
        latency_ms = self._screening.latency_within(trial, candidate)
        if trial.latency is None and self.repository.trial(trial.id).latency is not None:
            self.plan.learn_measuring(self.plan.clock() - asked_at)
        if latency_ms is None:
            self._postponed.add(trial.id)  # in case it waits: another run may find the machine quieter
            return None
        if look and self._shared is not None and self._screening.looked_at(trial, self._shared):
            self._refused_in_a_row = 0
            return None
        seconds = self._proposals.training_seconds(candidate)
        left = self._proposals.time_left()
        if seconds > left:
            self.repository.release(trial.id)
            self._postponed.add(trial.id)
            self.view.event(
                f"trial {trial.number} {trial.title}: within the limit, but training takes {in_time(seconds)} and "
                f"{in_time(left)} are left to explore; waits for a run with a larger --time-budget"
            )
            return None
        if not self._screening.compiles(trial):
            return None
        job = TrainJob(trial_id=trial.id, candidate=dict(trial.spec), epochs=self.policy.epochs)
        if trial.kind is not TrialKind.FIXED:  # fixed trials are there to be known exactly
            beat = ap_to_beat(self._trials(), latency_ms=latency_ms, epochs=self.policy.epochs)
            job = replace(job, ap_to_beat=beat)
        return self._start(job)

    def _start(self, job: TrainJob) -> TrainJob:
        if math.isfinite(self.plan.left()):
            job = replace(job, deadline=time.time() + self.plan.left() * LATE_TOLERANCE)
        self._running[job.trial_id] = job
        self._pace.pop(job.trial_id, None)
        return job

    def progressed(self, job: TrainJob, progress: Mapping[str, Any]) -> None:
        """Show how far a training is."""
        if not progress.get("phase"):
            self._pace[job.trial_id] = progress.get("images_per_second", 0.0)
        if job.epochs_before:
            self._finalists.progressed(job, progress)
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
        gflops = self._knowledge.gflops(candidate)
        images = result["images_seen"] * (teaching_cost(candidate) if job.distils else 1.0)
        evidence = deployed_evidence(result)
        besides_training = result["deployed"]["seconds"] + result.get("starting_seconds", 0.0)
        self.plan.learn(gflops, images, result["training_seconds"], besides_training)
        if "tuning" in result:
            self.plan.learn_tuning(gflops, **result["tuning"])
        words = in_words(evidence, trial)
        if trial.state is TrialState.RUNNING:
            self.repository.finish(trial.id, **evidence.to_store())
            self.view.event(f"trial {trial.number} {trial.title}: {words} after {job.epochs} epochs")
            return
        self._finalists.succeeded(job, trial, evidence, words)

    def lost(self, job: TrainJob, cause: str) -> None:
        """A job whose worker is gone: it is tried again, at most `MAX_ATTEMPTS` times in all its runs."""
        self._running.pop(job.trial_id, None)
        trial = self.repository.trial(job.trial_id)
        if trial.state is not TrialState.RUNNING:
            self._finalists.lost(trial, cause)
            return
        state = self.repository.lost(trial.id, cause)
        self._exploring = self._exploring or state is TrialState.WAITING or self._proposals.enough
        then = "it is tried again" if state is TrialState.WAITING else "given up"
        self.view.event(f"trial {trial.number} {trial.title}: {cause}; {then}")

    def failed(self, job: TrainJob, reason: str, *, out_of_time: bool = False) -> None:
        """Store why a job gave no result; one that was only cut short waits for the next run."""
        self._running.pop(job.trial_id, None)
        trial = self.repository.trial(job.trial_id)
        self.view.event(f"trial {trial.number} {trial.title}: {reason}")
        pace = self._pace.get(job.trial_id)
        if out_of_time and pace:
            candidate = Candidate.from_dict(job.candidate)
            taught = teaching_cost(candidate) if job.distils else 1.0
            self.plan.learn_pace(self._knowledge.gflops(candidate), 1.0 / pace / taught)
        if trial.state is not TrialState.RUNNING:
            if out_of_time:
                self._finalists.cut_short(trial, reason, again=bool(pace))
            else:
                self._finalists.failed(trial, reason)
            return
        self._exploring = (
            self._exploring or self._proposals.enough
        )  # a trial that was counted is none after all
        if out_of_time:
            self._postponed.add(trial.id)
            self.repository.release(trial.id)
        else:
            self.repository.fail(trial.id, reason, owner=this_owner())

    def release_running(self) -> None:
        """Put what still runs back to waiting: the run is being ended on purpose."""
        for trial in self._trials():
            if trial.id not in self._running:
                continue
            if trial.state is TrialState.RUNNING:
                with contextlib.suppress(LeaseLostError):
                    self.repository.release(trial.id)
            elif trial.state is TrialState.FINISHED:
                self._finalists.cut_short(trial, "interrupted")
        self._running.clear()

    def _trials(self) -> list[TrialRecord]:
        return self._knowledge.trials()

    def beliefs(self) -> Beliefs | None:
        """What the search believes now; None while it knows too little."""
        return self._knowledge.beliefs()
