"""What the page shows; the database is opened read-only and closed again after each look."""

import threading
from dataclasses import dataclass

from foundation.errors import UserError
from storage.follow import StudyFollower
from storage.overview import Overview
from storage.records import EventRecord, StudyRecord, TrialRecord
from storage.repository import Repository
from storage.states import TrialState


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyList:
    """The studies of a database, newest first, and its address with the password masked."""

    url: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """A study's key figures, there in an instant however many trials it has."""

    study: StudyRecord
    overview: Overview

    @property
    def trials(self) -> int:
        """How many trials there are, in whatever state."""
        return sum(self.overview.counts.values())

    @property
    def live(self) -> bool:
        """Whether a search is at work on it."""
        return self.study.driver_owner is not None or self.overview.counts[TrialState.RUNNING] > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One study at one moment."""

    study: StudyRecord
    trials: tuple[TrialRecord, ...]

    def trial(self, number: int | None) -> TrialRecord | None:
        """The trial of that number, if there is one."""
        return next((trial for trial in self.trials if trial.number == number), None)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why nothing can be shown, in a line that says what to do."""

    message: str


def load_studies(url: str) -> StudyList | Problem:
    """The studies of a database, or why it cannot be read."""
    try:
        with Repository.open(url, read_only=True) as repository:
            return StudyList(
                url=repository.url, names=tuple(study.name for study in repository.list_studies())
            )
    except UserError as error:
        return Problem(str(error))


def load_glance(url: str, name: str) -> Glance | Problem:
    """A study's key figures, or why it cannot be read."""
    try:
        with Repository.open(url, read_only=True) as repository:
            study = repository.get_study(name)
            return Glance(study=study, overview=repository.overview(study.id))
    except UserError as error:
        return Problem(str(error))


class FollowedStudy:
    """A study that stays in memory between two looks; only what has changed is read again.

    May be used by many threads.
    """

    def __init__(self, url: str, study_id: int) -> None:
        self._url = url
        self._study_id = study_id
        self._opened: tuple[Repository, StudyFollower] | None = None
        self._trials: tuple[TrialRecord, ...] = ()
        self._lock = threading.Lock()

    def look(self, study: StudyRecord) -> Snapshot | Problem:
        """All trials as they are now; the very same tuple as before while nothing has changed."""
        with self._lock:
            try:
                if self._opened is None:
                    repository = Repository.open(self._url, read_only=True)
                    self._opened = repository, StudyFollower(repository, self._study_id)
                repository, follower = self._opened
                trials = follower.trials()
                repository.close()  # a file that is replaced in between is then met anew
            except UserError as error:
                self._opened = None
                return Problem(str(error))
            same = len(trials) == len(self._trials)
            if not same or any(new is not old for new, old in zip(trials, self._trials, strict=True)):
                self._trials = tuple(trials)
            return Snapshot(study=study, trials=self._trials)


def load_events(url: str, study: StudyRecord, trial: TrialRecord) -> list[EventRecord]:
    """What happened to a trial, oldest first; empty if the database is gone."""
    try:
        with Repository.open(url, read_only=True) as repository:
            return repository.events(study.id, trial_id=trial.id)
    except UserError:
        return []
