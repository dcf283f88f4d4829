"""A trial whose training several processes share, seen from the one that leads them and computes nothing itself.

Ray Train starts the processes inside the search's own Ray session; when they have ended, the way from weights to a
judged artefact is a Ray task with the share of one process, so that every GPU in use is one that Ray gave away.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.causes import lost_cause
from search.job_weights import weights_of
from search.parallel import train_joined
from search.places import process_resources, processes_here, rank_resources
from search.stages import Bench, TrainJob
from yolov6space.candidate import Candidate

if TYPE_CHECKING:
    from search.training import TrainedNetwork, TrainingProgress

POLL_S = 5.0


def train_jointly_and_deploy(
    job: TrainJob,
    bench: Bench,
    on_progress: Callable[[TrainingProgress], None],
    alive: Callable[[], None],
) -> dict[str, Any]:
    """What `stages.train_and_deploy` gives, or how it failed as `workers.outcome_of` tells it.

    A result also has `starting_seconds`: what went into starting processes.

    Raises:
        ProcessLostError: one of the processes was lost; the job may be tried again.
        OutOfTime, TrainingDiverged, JudgementError, UserError: as of `job_weights.weights_of`.
    """
    from evaluators.data import load_data

    began = time.monotonic()
    candidate = Candidate.from_dict(job.candidate)
    weights_of(job, candidate, bench, load_data(bench.data), on_progress, partial(_joined, bench))
    outcome = _deployed(job, bench, alive)
    if "deployed" not in outcome:
        return outcome
    tuning = outcome.get("tuning", {}).get("seconds", 0.0)
    busy = outcome["training_seconds"] + tuning + outcome["deployed"]["seconds"]
    return {**outcome, "starting_seconds": max(0.0, time.monotonic() - began - busy)}


def _joined(
    bench: Bench,
    training: Callable[..., TrainedNetwork],
    on_progress: Callable[[TrainingProgress], None],
) -> TrainedNetwork:
    own = Path(bench.folder) / "ray"  # reaches every machine that trains, and is never read again
    own.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=own) as scratch:
        return train_joined(
            partial(_train, training, bench),
            processes=bench.processes,
            resources=rank_resources(bench.threads),
            scratch=scratch,
            on_progress=on_progress,
        )


def _train(training: Callable[..., TrainedNetwork], bench: Bench, **named: Any) -> TrainedNetwork:
    """In each of the processes, which know how many have their caches on this machine."""
    return training(sharers=processes_here(bench.workers, bench.processes, bench.threads), **named)


def _deployed(job: TrainJob, bench: Bench, alive: Callable[[], None]) -> dict[str, Any]:
    """The rest of the trial, in a process of its own that finds the weights."""
    import ray
    from ray.exceptions import RayError

    share = process_resources(bench.threads)
    task = ray.remote(
        num_cpus=share["cpu"],
        num_gpus=share["gpu"],
        max_retries=0,
        scheduling_strategy="DEFAULT",  # else Ray would look for the share in what Tune set aside for the leader
    )(_deploy)
    asked = task.remote(job.to_dict(), asdict(bench))
    while not ray.wait([asked], timeout=POLL_S)[0]:
        alive()  # it has a watchdog of its own
    try:
        outcome: dict[str, Any] = ray.get(asked)
    except RayError as error:
        return {"lost": lost_cause(error, time.monotonic())}
    return outcome


def _deploy(job: dict[str, Any], bench: dict[str, Any]) -> dict[str, Any]:
    from search.workers import outcome_of, train_and_deploy_here, watchdog

    with watchdog() as alive:
        return outcome_of(lambda: train_and_deploy_here(TrainJob.from_dict(job), Bench(**bench), None, alive))
