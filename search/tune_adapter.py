"""Ray Tune's interfaces over our conductor. Imports Ray: import this module only where Ray runs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import ray
from ray.tune import Stopper
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from foundation.errors import UserError
from search.causes import NO_SPACE, WORKER_SILENCE_S, lost_cause
from storage import LeaseLostError

if TYPE_CHECKING:
    from search.stages import Bench, TrainJob
    from search.workers import JobSource

# Tune flattens nested results and configurations, so ours travel as JSON text.
JOB = "job"
BENCH = "bench"
OUTCOME = "outcome"
PROGRESS = "progress"
_PATIENCE = 1.5  # times the silence after which a worker ends itself
ENOUGH_SPACE_BYTES = 500 * 2**20  # with this much left it was the trial that took too much, not the machine


class _NeverSaved:
    """Tune saves its parts to disk by pickling them; ours hold open databases, and SQL is the only truth."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


class StudySearcher(_NeverSaved, Searcher):
    """Hands out the conductor's jobs and gives it what came of them.

    `problem` is what stopped it: a UserError (full disk, lost database) that the driver raises again.
    """

    def __init__(
        self,
        source: JobSource,
        bench: Bench,
        stopped: Callable[[], bool],
        silence_s: float = WORKER_SILENCE_S,
    ) -> None:
        super().__init__()
        self._silence_s = silence_s
        self._source = source
        self._bench = bench
        self._stopped = stopped
        self._running: dict[str, TrainJob] = {}
        self._heard: dict[str, float] = {}
        self._errors: dict[str, BaseException] = {}
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
        self._heard[trial_id] = time.monotonic()
        if trial_id in self._running and PROGRESS in result:
            self._guarded(self._source.progressed, self._running[trial_id], json.loads(result[PROGRESS]))

    def overdue(self, trial_id: str, *, placed: bool) -> bool:
        """Whether to give up a job: its worker is silent, or no worker took it before its deadline.

        Workers that hang end themselves; a node that froze or fell off the network cannot.
        """
        job, now = self._running.get(trial_id), time.monotonic()
        if job is None:
            return False
        if not placed:
            return job.deadline is not None and time.time() > job.deadline
        return now - self._heard.setdefault(trial_id, now) > _PATIENCE * self._silence_s

    def worker_lost(self, trial_id: str, error: BaseException | None) -> None:
        """What Ray says about a worker that died; `on_trial_complete` follows."""
        if error is not None:
            self._errors[trial_id] = error

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The end of a job: its outcome, or none when its process died."""
        job = self._running.pop(trial_id, None)
        heard, died = self._heard.pop(trial_id, None), self._errors.pop(trial_id, None)
        outcome = json.loads((result or {}).get(OUTCOME, "null"))
        if job is None or self.problem is not None or (self._stopped() and not _is_result(outcome)):
            return  # the driver puts what was still running back to waiting
        if outcome is None and heard is None and died is None:
            self._guarded(self._source.failed, job, "no worker was free in time", out_of_time=True)
        elif outcome is None:
            heard = time.monotonic() if heard is None else heard
            self._guarded(self._source.lost, job, lost_cause(died, heard, self._silence_s))
        elif "lost" in outcome:
            self._guarded(self._source.lost, job, outcome["lost"])
        elif "no_space" in outcome:
            self._no_space(job)
        elif "fatal" in outcome:
            self.problem = UserError(outcome["fatal"])
        elif "failed" in outcome:
            self._guarded(
                self._source.failed, job, outcome["failed"], out_of_time=outcome.get("out_of_time", False)
            )
        else:
            self._guarded(self._source.succeeded, job, outcome)

    def _no_space(self, job: TrainJob) -> None:
        # its files are gone by now: with room again, the search goes on and the trial is tried once more
        if shutil.disk_usage(self._bench.folder).free >= ENOUGH_SPACE_BYTES:
            self._guarded(self._source.lost, job, "no space left on the device where it ran")
        else:
            self.problem = UserError(NO_SPACE)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def _guarded(self, call: Callable[..., None], *arguments: Any, **named: Any) -> None:
        try:
            call(*arguments, **named)
        except (UserError, LeaseLostError) as error:
            self.problem = _as_user_error(error)


def _is_result(outcome: dict[str, Any] | None) -> bool:
    return outcome is not None and not {"no_space", "fatal", "failed", "lost"} & outcome.keys()


def _as_user_error(error: UserError | LeaseLostError) -> UserError:
    if isinstance(error, UserError):
        return error
    return UserError(f"another program took over this study: {error}; end that one, or use another --study")


class StudyScheduler(_NeverSaved, FIFOScheduler):
    """Trials in the order they are asked for; tells the searcher why a worker was lost, and ends what is overdue.

    Ranking and stopping are the conductor's: it knows rungs and limits, Tune does not.
    """

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Asked at every step of Tune's loop, so the moment to look after every job as well."""
        for trial in list(tune_controller.get_live_trials()):
            placed = trial.status == Trial.RUNNING
            if not self._searcher.overdue(trial.trial_id, placed=placed):
                continue
            if placed:  # ended as a lost one: Tune would give a stopped one's worker, frozen, to the next job
                ray.kill(trial.temporary_state.ray_actor)
            else:
                tune_controller.stop_trial(trial)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Called before the searcher hears that the trial has ended."""
        self._searcher.worker_lost(trial.trial_id, _error_of(trial))


def _error_of(trial: Any) -> BaseException | None:
    try:
        found = trial.get_pickled_error() or trial.get_error()
    except Exception:  # noqa: BLE001 - the reason is worth having, not worth an end of the search
        return None
    return found if isinstance(found, BaseException) else None


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
