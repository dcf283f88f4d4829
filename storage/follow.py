"""Keeps the trials of a study in memory and reads again only what has changed, as the events tell."""

import threading

from storage.reader import Reader
from storage.records import TrialRecord

_OVERLAP = 500  # another program's event may become visible after one with a larger id


class StudyFollower:
    """The trials of one study, as true as `Repository.trials` and as cheap as the number of changes.

    May be used by many threads.
    """

    def __init__(self, reader: Reader, study_id: int) -> None:
        self._reader = reader
        self._study_id = study_id
        self._trials: dict[int, TrialRecord] = {}  # by id, which rises with the number within a study
        self._seen: set[int] = set()
        self._newest = -1
        self._lock = threading.Lock()

    def trials(self) -> list[TrialRecord]:
        """All trials by number, as they are now."""
        with self._lock:
            if self._newest < 0:
                self._read_all()
            else:
                self._read_changes()
            return sorted(self._trials.values(), key=lambda trial: trial.number)

    def _read_all(self) -> None:
        # the events first: what changes in between is then read twice, never missed
        events = self._reader.events(self._study_id, limit=_OVERLAP)
        self._seen = {event.id for event in events}
        self._newest = max(self._seen, default=0)
        self._trials = {trial.id: trial for trial in self._reader.trials(self._study_id)}

    def _read_changes(self) -> None:
        after = max(0, self._newest - _OVERLAP)
        events = self._reader.events(self._study_id, after=after, limit=1_000_000)
        new = [event for event in events if event.id not in self._seen]
        if not new:
            return
        changed = sorted({event.trial_id for event in new if event.trial_id is not None})
        for first in range(0, len(changed), 500):
            for trial in self._reader.trials_by_id(changed[first : first + 500]):
                self._trials[trial.id] = trial
        self._newest = max(self._newest, *(event.id for event in new))
        self._seen = {event.id for event in events if event.id > self._newest - _OVERLAP}
