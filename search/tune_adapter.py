"""Ray Tune's interfaces over our conductor. Imports Ray: import this module only where Ray runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ray.tune import Stopper
from ray.tune.search import Searcher

from foundation.errors import UserError
from storage import LeaseLostError

if TYPE_CHECKING:
    from search.stages import Bench, TrainJob
    from search.workers import JobSource

# Tune flattens nested results and configurations, so ours travel as JSON text.
JOB = "job"
BENCH = "bench"
OUTCOME = "outcome"
PROGRESS = "progress"


class _NeverSaved:
    """Tune saves its parts to disk by pickling them; ours hold open databases, and SQL is the only truth."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


class StudySearcher(_NeverSaved, Searcher):
    """Hands out the conductor's jobs and gives it what came of them.

    `problem` is what stopped it: a UserError (full disk, lost database) that the driver raises again.
    """

    def __init__(self, source: JobSource, bench: Bench, stopped: Callable[[], bool]) -> None:
        super().__init__()
        self._source = source
        self._bench = bench
        self._stopped = stopped
        self._running: dict[str, TrainJob] = {}
        self.problem: UserError | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more may run."""
        return self.problem is not None or self._stopped()

    def suggest(self, trial_id: str) -> Any:
        """The next job as a configuration, None for "ask again later", FINISHED at the end."""
        if self.ended:
            return Searcher.FINISHED
        try:
            job = self._source.next_job()
        except (UserError, LeaseLostError) as error:
            self.problem = _as_user_error(error)
            return Searcher.FINISHED
        if job is None:
            return Searcher.FINISHED if self._source.done or self.ended else None
        self._running[trial_id] = job
        return {JOB: json.dumps(job.to_dict()), BENCH: json.dumps(asdict(self._bench))}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Progress of a running job."""
        if trial_id in self._running and PROGRESS in result:
            self._guarded(self._source.progressed, self._running[trial_id], json.loads(result[PROGRESS]))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The end of a job: its outcome, or none when its process died."""
        job = self._running.pop(trial_id, None)
        if job is None or self.ended:
            return  # the driver puts what was still running back to waiting
        outcome = json.loads((result or {}).get(OUTCOME, "null"))
        if outcome is None:
            self._guarded(self._source.failed, job, "the worker process died (out of memory?)")
        elif "fatal" in outcome:
            self.problem = UserError(outcome["fatal"])
        elif "failed" in outcome:
            self._guarded(
                self._source.failed, job, outcome["failed"], out_of_time=outcome.get("out_of_time", False)
            )
        else:
            self._guarded(self._source.succeeded, job, outcome)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def _guarded(self, call: Callable[..., None], *arguments: Any, **named: Any) -> None:
        try:
            call(*arguments, **named)
        except (UserError, LeaseLostError) as error:
            self.problem = _as_user_error(error)


def _as_user_error(error: UserError | LeaseLostError) -> UserError:
    if isinstance(error, UserError):
        return error
    return UserError(f"another program took over this study: {error}; end that one, or use another --study")


class StopWhenEnded(_NeverSaved, Stopper):
    """Ends the whole Tune run when the searcher has ended."""

    def __init__(self, searcher: StudySearcher) -> None:
        self._searcher = searcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Single trials end by themselves."""
        return False

    def stop_all(self) -> bool:
        """Asked at every step of Tune's loop."""
        return self._searcher.ended
