"""Longer trainings of the best candidates, once exploring is over: whose, how long, and what came of them.

What was begun is an event, so that a later run goes on with exactly that training while its time allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evaluators.artefact import WEIGHTS_FILE
from search.budget import LONGER_TRAINING, TimePlan
from search.effort import all_epochs, epochs_share, qat_epochs, teaching_cost
from search.evidence import DeployedEvidence, over_target
from search.knowledge import Knowledge
from search.roles import View
from search.stages import TrainJob
from storage.front import of_a_part
from storage.records import EventRecord, StudyRecord, TrialRecord
from storage.repository import MAX_ATTEMPTS, Repository
from yolov6space.candidate import Candidate

FINALISTS = 3  # in one run
SHARE_OF_ONE, SHARE_OF_LAST = 0.55, 0.9  # of the time left, for one longer training
# Kinds of event. Every start is BEGUN; what follows is one of the others, or nothing where the driver died.
BEGUN, LONGER, FAILED, CUT_SHORT, LOST = "longer begun", "longer", "longer failed", "cut short", "longer lost"
_ALL_KINDS = (BEGUN, LONGER, FAILED, CUT_SHORT, LOST)
# How events told it before they had data.
_BEGUN_TEXT = re.compile(r"(\d+) epochs on top, from artefact (\S+)")
_DONE_TEXT = re.compile(r"\((\d+) % done\)$")


@dataclass(frozen=True, slots=True)
class Begun:
    """A longer training as its event tells it: in its data, before version 0003 of the database in its text.

    Attributes:
        epochs: on top of exploring.
        start: hash of the artefact whose weights it starts from.
    """

    epochs: int
    start: str

    def __str__(self) -> str:
        return f"{self.epochs} epochs on top, from artefact {self.start}"

    @classmethod
    def read(cls, event: EventRecord) -> Begun | None:
        """From a BEGUN event; None where it does not tell."""
        if event.data is not None:
            return cls(**event.data)
        found = _BEGUN_TEXT.fullmatch(event.message)
        return None if found is None else cls(int(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class Past:
    """What the events tell of one trial's longer trainings.

    Attributes:
        ended: whether one came to its end; nothing more is to be tried then.
        trained: whether it ended with a network.
        begun: the last one, None before the first.
        done: share of its steps that is known to be done, 0..1.
        attempts: starts that nobody ended on purpose: with MAX_ATTEMPTS of them it is given up.
    """

    ended: bool = False
    trained: bool = False
    begun: Begun | None = None
    done: float = 0.0
    attempts: int = 0

    @classmethod
    def of(cls, events: Iterable[EventRecord]) -> Past:
        """From the events of one trial, oldest first."""
        kinds: set[str] = set()
        begun, done, attempts = None, 0.0, 0
        for event in events:
            if event.kind == BEGUN:
                now = Begun.read(event)
                begun, done = now, done if now == begun else 0.0
                attempts += 1
            elif event.kind == CUT_SHORT:
                done = max(done, _share_done(event))
                attempts = max(0, attempts - 1)
            kinds.add(event.kind)
        return cls(bool(kinds & {LONGER, FAILED}), LONGER in kinds, begun, done, attempts)


def _share_done(event: EventRecord) -> float:
    """How far a CUT_SHORT event says it was, 0..1."""
    if event.data is not None:
        return float(event.data["done"])
    found = _DONE_TEXT.search(event.message)
    return int(found[1]) / 100 if found else 0.0


@dataclass
class Finalists:
    """Those of one run; the repository is the memory between runs."""

    repository: Repository
    study: StudyRecord
    plan: TimePlan
    knowledge: Knowledge
    view: View
    _chosen: set[int] = field(default_factory=set)
    _done: dict[int, float] = field(default_factory=dict)

    def next_job(self) -> TrainJob | None:
        """The best feasible candidate that was not trained longer yet, for as long as time allows."""
        policy = self.knowledge.policy
        if policy.only_fixed:
            return None
        if len(self._chosen) >= FINALISTS:
            self._no_more(f"{FINALISTS} were trained longer, the most in one run")
            return None
        past = self._past()
        ranked = self._ranked(past)
        if not ranked:
            anything = any(trial.feasible and trial.deployed for trial in self.knowledge.trials())
            if anything:
                self._no_more("no other within the limit is likely to reach the front")
            else:
                self._no_more("no network within the limit was trained yet")
            return None
        best, last = ranked[0], len(ranked) == 1 or len(self._chosen) == FINALISTS - 1
        before = past.get(best.id, Past())
        start, weights = self._weights(best)
        candidate = Candidate.from_dict(best.spec)
        goes_on = before.begun is not None and before.begun.start == start and self._fits(candidate, before)
        if goes_on and before.begun is not None:
            epochs = before.begun.epochs
        else:
            left = self.plan.left() * (SHARE_OF_LAST if last else SHARE_OF_ONE)
            epochs = self._done_for_another(candidate, past) or self._epochs(candidate, left)
        if epochs < max(1, policy.epochs // 2):
            self._no_more(f"the time left is too short for another, {best.title}")
            return None
        self._chosen.add(best.id)
        share = f" ({before.done:.0%} were done)" if before.done else ""  # unknown after a kill
        how = f", goes on with what was begun{share}" if goes_on else ""
        self.view.event(f"trial {best.number} {best.title}: finalist, {epochs} more epochs{how}")
        begun = Begun(epochs, start)
        self._note(BEGUN, best, str(begun), asdict(begun))
        return TrainJob(
            trial_id=best.id,
            candidate=dict(best.spec),
            epochs=epochs,
            epochs_before=policy.epochs,
            init_weights=weights,
        )

    def progressed(self, job: TrainJob, progress: Mapping[str, Any]) -> None:
        """Remember how far a longer training is."""
        if not progress.get("phase") and progress.get("steps"):
            self._done[job.trial_id] = progress["step"] / progress["steps"]

    def succeeded(self, job: TrainJob, trial: TrialRecord, evidence: DeployedEvidence, figures: str) -> None:
        """Store what came of a longer training; it counts only where it is better."""
        ap, measured = evidence.deployed.ap, evidence.measurement
        before = trial.deployed.ap if trial.deployed else None
        over = None if measured is None else over_target(measured, self.knowledge.policy.target_ms)
        if over is None and ap is not None and (before is None or ap > before):
            self.repository.add_evidence(trial.id, **evidence.to_store())
            self._end(LONGER, trial, f"{figures} after {job.epochs_before + job.epochs} epochs")
        else:
            self._end(LONGER, trial, f"longer training gave {figures}: the earlier weights are kept")

    def lost(self, trial: TrialRecord, cause: str) -> None:
        """Its worker is gone: it is tried again, at most `MAX_ATTEMPTS` times in all runs."""
        attempts = self._past().get(trial.id, Past()).attempts
        if attempts >= MAX_ATTEMPTS:
            self._give_up(trial, attempts, cause)
            return
        self._chosen.discard(trial.id)
        self._note(LOST, trial, f"longer training: {cause}")
        self.view.event(f"trial {trial.number} {trial.title}: longer training: {cause}; it is tried again")

    def failed(self, trial: TrialRecord, reason: str) -> None:
        """It gave no result and would not if it were tried again."""
        self._note(FAILED, trial, f"longer training: {reason}")

    def cut_short(self, trial: TrialRecord, reason: str, *, again: bool = False) -> None:
        """It was ended before its time, and may go on in a later run.

        Args:
            again: it would have outlasted the time; begun again in this run, for as long as its pace now allows.
        """
        if again:
            self._chosen.discard(trial.id)
        done = self._done.get(trial.id, 0.0)
        text = f"longer training: {reason} ({100 * done:.0f} % done)"
        self._note(CUT_SHORT, trial, text, {"done": done})

    def _no_more(self, reason: str) -> None:
        """Say why this run ends, which may be long before its time."""
        self.view.event(f"no further longer training: {reason}")

    def _ranked(self, past: Mapping[int, Past]) -> list[TrialRecord]:
        """Those to train longer: what was begun first, then by the expected gain of the front.

        Candidates outside a narrowed space are not modelled and come after all others, by their AP.
        """
        hopeful = self.knowledge.promising()
        places = {proposal.candidate.key: -place for place, proposal in enumerate(hopeful)}
        ranked = []
        for trial in self.knowledge.trials():
            deployed, before = trial.deployed, past.get(trial.id, Past())
            if not trial.feasible or trial.id in self._chosen or before.ended:
                continue
            if deployed is None or deployed.ap is None or of_a_part(deployed.protocol):
                continue
            if (deployed.epochs or 0) > self.knowledge.policy.epochs:
                continue
            place = places.get(trial.candidate_key)
            if place is None and Candidate.from_dict(trial.spec) in self.knowledge.space:
                continue  # its best credible AP does not reach the front
            if before.attempts >= MAX_ATTEMPTS:
                self._give_up(trial, before.attempts, "the run was ended in the midst of it")
                continue
            ranked.append(((before.begun is not None, place is not None, place or 0, deployed.ap), trial))
        return [trial for _, trial in sorted(ranked, key=lambda pair: pair[0], reverse=True)]

    def _fits(self, candidate: Candidate, before: Past) -> bool:
        """Whether the rest of what was begun fits into the time left."""
        assert before.begun is not None
        images = self.knowledge.policy.train_images * teaching_cost(candidate)
        passes, deploying = all_epochs(candidate.model, before.begun.epochs), self.plan.deploy_seconds
        training = self.plan.seconds_for(self.knowledge.gflops(candidate), images, passes) - deploying
        after = self._tuning_seconds(candidate, before.begun.epochs) + deploying
        return training * (1 - before.done) + after <= self.plan.left() * SHARE_OF_LAST

    def _epochs(self, candidate: Candidate, seconds: float) -> int:
        """As many as fit into so many seconds, up to what a longer training is."""
        policy = self.knowledge.policy
        images = policy.train_images * epochs_share(candidate.model) * teaching_cost(candidate)
        most, gflops = round(policy.epochs * LONGER_TRAINING), self.knowledge.gflops(candidate)
        longest = min(most, self.plan.epochs_within(seconds, gflops, images))
        training = seconds - self._tuning_seconds(candidate, longest)
        return min(longest, self.plan.epochs_within(training, gflops, images))

    def _tuning_seconds(self, candidate: Candidate, epochs: int) -> float:
        """Of the QAT after a longer training of so many epochs; 0 for a candidate that asks for none."""
        policy = self.knowledge.policy
        tuning = qat_epochs(candidate, policy.epochs + epochs)
        return self.plan.tuning_seconds(self.knowledge.gflops(candidate), policy.train_images, tuning)

    def _done_for_another(self, candidate: Candidate, past: Mapping[int, Past]) -> int | None:
        """Epochs of the longer training of a network that differs in precision alone: its weights serve again."""
        for trial in self.knowledge.trials():
            before = past.get(trial.id, Past())
            same = Candidate.from_dict(trial.spec).training_key == candidate.training_key
            if same and before.trained and before.begun is not None:
                tuning = self._tuning_seconds(candidate, before.begun.epochs)
                return before.begun.epochs if tuning <= self.plan.left() * SHARE_OF_LAST else None
        return None

    def _weights(self, trial: TrialRecord) -> tuple[str, str]:
        """Hash of the artefact whose weights a longer training starts from, and the file of these weights."""
        assert trial.deployed is not None
        start = str(trial.deployed.artefact_hash)
        built = {one.hash: one.path for one in self.repository.artefacts(trial.id)}
        return start, str(Path(built[start]) / WEIGHTS_FILE)

    def _past(self) -> dict[int, Past]:
        events: dict[int, list[EventRecord]] = {}
        for event in self.repository.events(self.study.id, kinds=_ALL_KINDS, limit=100_000):
            if event.trial_id is not None:
                events.setdefault(event.trial_id, []).append(event)
        return {trial: Past.of(told) for trial, told in events.items()}

    def _give_up(self, trial: TrialRecord, attempts: int, cause: str) -> None:
        text = f"longer training given up after {attempts} attempts: {cause}: the earlier weights are kept"
        self._end(FAILED, trial, text)

    def _end(self, kind: str, trial: TrialRecord, outcome: str) -> None:
        self._note(kind, trial, outcome)
        self.view.event(f"trial {trial.number} {trial.title}: {outcome}")

    def _note(
        self, kind: str, trial: TrialRecord, message: str, data: Mapping[str, Any] | None = None
    ) -> None:
        self.repository.add_event(self.study.id, kind, message, trial_id=trial.id, data=data)
