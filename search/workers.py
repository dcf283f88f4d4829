"""Ray: a long-lived actor for judgements that take seconds, Ray Tune for trials that train.

Ray's own `OptunaSearch` cannot do this job (no constraints from results, a trial that misses a metric stays
RUNNING for ever), so Tune asks the conductor through a `Searcher` of ours and every worker answers in plain
JSON, failures included.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from foundation.errors import UserError
from search.conductor import JudgementError

if TYPE_CHECKING:
    from search.stages import Bench, TrainJob

# Tune flattens nested results and configurations, so ours travel as JSON text.
_JOB = "job"
_BENCH = "bench"
_OUTCOME = "outcome"
_PROGRESS = "progress"


class Conductor(Protocol):
    """Who decides what runs next and keeps what came of it; every call comes from the driver's one thread."""

    def next_job(self) -> TrainJob | None:
        """The next job, or None when there is none (any more, or until a running one ends)."""

    @property
    def done(self) -> bool:
        """Whether no further job will come."""

    def progressed(self, job: TrainJob, progress: dict[str, Any]) -> None:
        """A running job reports how far it is."""

    def succeeded(self, job: TrainJob, result: dict[str, Any]) -> None:
        """A job ended with a result of `train_and_deploy`."""

    def failed(self, job: TrainJob, reason: str, *, out_of_time: bool = False) -> None:
        """A job ended without a result."""


@contextlib.contextmanager
def ray_session(address: str | None, cpus: int) -> Iterator[None]:
    """Start Ray on this machine, or join the cluster at `address`; silent and without telemetry."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # ours ends the search and keeps everything
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    import ray

    logging.getLogger("ray.tune").setLevel(
        logging.CRITICAL
    )  # a dead worker becomes a reason, not a traceback
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            ray.init(address=address, **common)
        else:
            ray.init(num_cpus=cpus, include_dashboard=False, object_store_memory=200 * 2**20, **common)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = f"cluster at {address}" if address else "a local Ray"
        raise UserError(f"cannot reach {where}: {str(error).splitlines()[0]}; check --ray-address") from error
    try:
        yield
    finally:
        ray.shutdown()


class RemoteJudge:
    """Latency judgements in a long-lived actor: heavy imports are paid once and crashes stay there."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._actor: Any = None

    def __call__(self, candidate: dict[str, Any]) -> dict[str, Any]:
        """Measure the untrained candidate. Raises JudgementError with a one-line reason."""
        return self._ask("latency", candidate)

    def seconds_per_gflop_image(self) -> float:
        """Training cost of this machine, from a few timed steps of YOLOv6-N."""
        return self._ask("training_speed")

    def _ask(self, method: str, *arguments: Any) -> Any:
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        if self._actor is None:
            self._actor = ray.remote(num_cpus=0, max_restarts=0)(_Judge).remote(self._bench)
        try:
            return ray.get(getattr(self._actor, method).remote(*arguments), timeout=JUDGEMENT_TIMEOUT_S)
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            if isinstance(cause, UserError):
                raise cause from None
            raise JudgementError(one_line(cause)) from error
        except (RayActorError, ray.exceptions.GetTimeoutError) as error:
            ray.kill(self._actor)
            self._actor = None
            raise JudgementError(f"the measuring process died or hung: {one_line(error)}") from error


JUDGEMENT_TIMEOUT_S = 300.0


class _Judge:
    """Runs in its own process."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def latency(self, candidate: dict[str, Any]) -> dict[str, Any]:
        from search.stages import judge_latency
        from yolov6space.candidate import Candidate

        return judge_latency(Candidate.from_dict(candidate), self._bench)

    def training_speed(self) -> float:
        from search.stages import seconds_per_gflop_image

        return seconds_per_gflop_image(self._bench)


def run_jobs(
    conductor: Conductor,
    bench: Bench,
    *,
    workers: int,
    folder: Path,
    stopped: Callable[[], bool],
    runner: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Let Ray Tune run the conductor's jobs on `workers` processes until it is done or `stopped()`.

    Args:
        runner: the trainable; another one in tests. It reports progress and exactly one outcome.
    """
    from ray import tune
    from ray.tune.search import Searcher

    class StudySearcher(Searcher):
        def __init__(self) -> None:
            super().__init__()
            self._running: dict[str, TrainJob] = {}

        def suggest(self, trial_id: str) -> Any:
            if stopped():
                return Searcher.FINISHED
            job = conductor.next_job()
            if job is None:
                return Searcher.FINISHED if conductor.done else None
            self._running[trial_id] = job
            return {_JOB: json.dumps(job.to_dict()), _BENCH: json.dumps(asdict(bench))}

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            if trial_id in self._running and _PROGRESS in result:
                conductor.progressed(self._running[trial_id], json.loads(result[_PROGRESS]))

        def on_trial_complete(
            self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
        ) -> None:
            job = self._running.pop(trial_id, None)
            if job is None:
                return
            outcome = json.loads((result or {}).get(_OUTCOME, "null"))
            if outcome is None:
                reason = "interrupted" if stopped() else "the worker process died (out of memory?)"
                conductor.failed(job, reason, out_of_time=stopped())
            elif "failed" in outcome:
                conductor.failed(job, outcome["failed"], out_of_time=outcome.get("out_of_time", False))
            else:
                conductor.succeeded(job, outcome)

        def save(self, checkpoint_path: str) -> None:
            """Nothing to save: the database is the only source of truth."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing to restore."""

    trainable = tune.with_resources(runner or _run_job, {"cpu": bench.threads})
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(), num_samples=-1, max_concurrent_trials=workers, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(folder.resolve()),
            verbose=0,
            stop=_stopper(stopped),
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        ),
    ).fit()


def _stopper(stopped: Callable[[], bool]) -> Any:
    from ray.tune import Stopper

    class StopWhenTold(Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return stopped()

    return StopWhenTold()


def _run_job(config: dict[str, Any]) -> None:
    """The trainable: runs in a worker process, reports progress and one outcome, never raises."""
    from ray import tune

    from search.stages import Bench, TrainJob, train_and_deploy
    from search.training import OutOfTime, TrainingDiverged

    job = TrainJob.from_dict(json.loads(config[_JOB]))
    bench = Bench(**json.loads(config[_BENCH]))

    def tell(progress: Any) -> None:
        tune.report({_PROGRESS: json.dumps(asdict(progress))})

    try:
        outcome = train_and_deploy(job, bench, tell)
    except OutOfTime as error:
        outcome = {"failed": one_line(error), "out_of_time": True}
    except (TrainingDiverged, UserError) as error:
        outcome = {"failed": one_line(error)}
    except Exception as error:  # noqa: BLE001 - whatever happened must reach the database as a reason
        outcome = {"failed": f"{type(error).__name__}: {one_line(error)}"}
    tune.report({_OUTCOME: json.dumps(outcome)})


def one_line(error: BaseException) -> str:
    """The error's text on one line, at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
