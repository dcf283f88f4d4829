"""Ray: its session, and Ray Tune for trials that train. Who measures is in `remote_judge.py`.

Ray's own `OptunaSearch` cannot do this job (no constraints from results, a trial that misses a metric stays
RUNNING for ever), so Tune asks the conductor through a `Searcher` of ours and every worker answers in plain
JSON, failures included.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from foundation.cli import is_disk_full
from foundation.errors import UserError, WorkFailedError
from search.causes import WORKER_SILENCE_S
from search.places import local_gpus, processes_here, trial_resources
from search.roles import JudgementError

if TYPE_CHECKING:
    from evaluators.artefact import Artefact
    from search.stages import Bench, TrainJob
    from search.training import TrainingProgress


class JobSource(Protocol):
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

    def lost(self, job: TrainJob, cause: str) -> None:
        """The worker of a job is gone; it may be tried again."""


def device_resource(device: str) -> str:
    """The Ray resource, one per device, that whoever measures there holds."""
    return f"device:{device}"


@contextlib.contextmanager
def ray_session(address: str | None, cpus: int, device: str) -> Iterator[None]:
    """Start Ray on this machine, or join the cluster at `address`; silent and without telemetry.

    Args:
        device: that is measured on; a node of the cluster must offer it as a resource.
    """
    resource = device_resource(device)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # ours ends the search and keeps everything
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Ray prints about lost workers on standard output, which is for results; we give the reason ourselves
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    import ray

    # a dead worker becomes a reason, not a traceback
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            ray.init(address=address, **common)
        else:
            local = {
                "include_dashboard": False,
                "object_store_memory": 200 * 2**20,
                "resources": {resource: 1},
                "num_gpus": local_gpus(),
            }
            ray.init(address="local", num_cpus=cpus, **local, **common)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = f"cluster at {address}" if address else "a local Ray"
        raise UserError(f"cannot reach {where}: {str(error).splitlines()[0]}; check --ray-address") from error
    if on_terminate is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_terminate)  # Ray has set one that exits without a word
    try:
        if ray.cluster_resources().get(resource, 0) < 1:
            raise UserError(
                f"no node of the cluster at {address} offers the device to measure on: start the one that has it with "
                f"ray start --resources='{{\"{resource}\": 1}}'"
            )
        yield
    finally:
        ray.shutdown()


def run_jobs(
    source: JobSource,
    bench: Bench,
    *,
    workers: int,
    folder: Path,
    stopped: Callable[[], bool],
    runner: Callable[[dict[str, Any]], None] | None = None,
    silence_s: float = WORKER_SILENCE_S,
) -> None:
    """Let Ray Tune run the source's jobs on `workers` processes until it is done or `stopped()`.

    Args:
        runner: the trainable; another one in tests. It reports progress and exactly one outcome.
        silence_s: how long a worker may report nothing before it counts as hung.
    """
    from ray import tune

    from search.tune_adapter import StopWhenEnded, StudyScheduler, StudySearcher

    searcher = StudySearcher(source, bench, stopped, silence_s)
    tune.Tuner(
        tune.with_resources(runner or _run_job, trial_resources(bench.threads, bench.processes)),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=StudyScheduler(searcher),
            num_samples=-1,
            max_concurrent_trials=workers,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(folder.resolve()),
            verbose=0,
            stop=StopWhenEnded(searcher),
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    ).fit()
    if searcher.problem is not None:
        raise searcher.problem


@contextlib.contextmanager
def watchdog(silence_s: float = WORKER_SILENCE_S) -> Iterator[Callable[[], None]]:
    """End this process if the block is silent for `silence_s`; it gives a function that says "alive".

    The timer is a thread in C, so it also ends code that hangs without ever giving the interpreter back.
    """
    with Path(os.devnull).open("w") as nowhere:

        def alive() -> None:
            faulthandler.dump_traceback_later(silence_s, exit=True, file=nowhere)

        alive()
        try:
            yield alive
        finally:
            faulthandler.cancel_dump_traceback_later()


def _run_job(config: dict[str, Any]) -> None:
    """The trainable: runs in a worker process, reports progress and one outcome, never raises."""
    from ray import tune

    from search.joint_trial import train_jointly_and_deploy
    from search.stages import Bench, TrainJob
    from search.tune_adapter import BENCH, JOB, OUTCOME, PROGRESS

    job = TrainJob.from_dict(json.loads(config[JOB]))
    bench = Bench(**json.loads(config[BENCH]))
    whole_way = train_and_deploy_here if bench.processes == 1 else train_jointly_and_deploy

    def tell(progress: Any) -> None:
        alive()
        tune.report({PROGRESS: json.dumps(asdict(progress))})

    with watchdog() as alive:
        outcome = outcome_of(lambda: whole_way(job, bench, tell, alive))
    tune.report({OUTCOME: json.dumps(outcome)})


def train_and_deploy_here(
    job: TrainJob,
    bench: Bench,
    on_progress: Callable[[TrainingProgress], None] | None,
    alive: Callable[[], None],
) -> dict[str, Any]:
    """`stages.train_and_deploy` in this process alone; the study's one process per device measures."""
    from search.remote_judge import RemoteJudge
    from search.stages import train_and_deploy

    def measure(artefact: Artefact, bench: Bench) -> dict[str, Any]:
        return RemoteJudge(bench).deployed(artefact.folder)

    bench = replace(bench, workers=processes_here(bench.workers, 1, bench.threads))
    return train_and_deploy(job, bench, on_progress, measure, alive)


def outcome_of(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of `work`, or in its place why there is none.

    `failed` says why, `lost` that the job may be tried again, `no_space` that a disk is full, `fatal` what would end
    every other job alike.
    """
    from search.parallel import ProcessLostError
    from search.training import OutOfTime

    try:
        return work()
    except ProcessLostError as error:
        return {"lost": error.cause}
    except OutOfTime as error:
        return {"failed": one_line(error), "out_of_time": True}
    except (WorkFailedError, JudgementError) as error:  # also training that diverged
        return {"failed": one_line(error)}
    except UserError as error:  # the data or the machine, not the candidate: every other would fail alike
        return {"fatal": one_line(error)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever happened must become a reason
        if is_disk_full(error):
            return {"no_space": True}
        return {"failed": f"{type(error).__name__}: {one_line(error)}"}


def one_line(error: BaseException) -> str:
    """The error's text on one line, at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
