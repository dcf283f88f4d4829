"""A study of 50,000 trials: how long it takes to open it for resume, and to answer a dashboard's first view.

    python benchmarks/storage_scale.py [--trials 50000]

Every finished trial has an AP with ten figures, a latency with raw samples and an artefact, as a search leaves
them. Each time is the median of five, in a process that has the file open anew.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from storage import Repository
from storage._statements import table_of
from storage.follow import StudyFollower
from storage.models import ArtefactRow, CandidateRow, Environment, Evaluation, Event, MeasurementRow, Trial

RESUME_SECONDS, FIRST_VIEW_SECONDS = 5.0, 0.3
ROUNDS = 5


def fill(url: str, trials: int) -> int:
    """A study of that many trials, written in bulk; returns its id."""
    rng, now = random.Random(0), datetime(2026, 1, 1, tzinfo=UTC)
    rows: dict[type[Any], list[dict[str, Any]]] = {
        row: [] for row in (CandidateRow, Trial, Evaluation, MeasurementRow, ArtefactRow, Event)
    }
    with Repository.open(url) as repository:
        study_id = repository.create_study("large", {}, target_latency_ms=8.8).id
        for number in range(1, trials + 1):
            key, infeasible, latency = f"{number:012x}", rng.random() < 0.4, 4 + 4.5 * rng.random()
            latency += 5 * infeasible
            spec = {f"x{n}": rng.random() for n in range(12)}
            rows[CandidateRow].append(
                {"key": key, "spec": spec, "label": key, "params": 4_300_000, "flops": 10**9}
            )
            state, reason = ("infeasible", "over the limit") if infeasible else ("finished", None)
            rows[Trial].append(
                {"id": number, "study_id": study_id, "number": number - 1, "candidate_key": key}
                | {"kind": "sampled", "state": state, "reason": reason, "created_at": now, "started_at": now}
                | {"finished_at": now, "attempts": 0}
            )
            if not infeasible:
                figures = {f"metric{n}": rng.random() for n in range(10)}
                rows[Evaluation].append(
                    {
                        "id": number,
                        "trial_id": number,
                        "origin": "deployed",
                        "created_at": now,
                        "ap": 0.1 * latency * rng.random(),
                    }
                    | {"ap50": 0.9, "figures": figures, "protocol": {"split": "val"}, "artefact_hash": key}
                )
                rows[ArtefactRow].append(
                    {
                        "hash": key,
                        "trial_id": number,
                        "path": f"runs/{key}",
                        "size_bytes": 1,
                        "created_at": now,
                    }
                )
            rows[MeasurementRow].append(
                {"trial_id": number, "evaluation_id": None if infeasible else number, "created_at": now}
                | {
                    "rung": "untrained" if infeasible else "deployed",
                    "artefact_hash": key,
                    "environment_id": 1,
                }
                | {"median_ms": latency, "low_ms": latency, "high_ms": latency, "p99_ms": latency}
                | {"samples_ms": [latency + n / 100 for n in range(30)], "workload": {"batch": 1}}
            )
            for kind in ("added", "recorded", state):
                rows[Event].append(
                    {"study_id": study_id, "trial_id": number, "at": now, "kind": kind, "message": ""}
                )

        def write(connection: Any) -> None:
            connection.execute(insert(table_of(Environment)), {"id": 1, "fingerprint": "f", "data": {}})
            for row, values in rows.items():
                connection.execute(insert(table_of(row)), values)

        repository.run(write)
    return study_id


def seconds(work: Callable[[], object]) -> float:
    """Median wall time."""
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def resume(url: str) -> None:
    """What `search.run --resume` asks of the database before its first question, in its order."""
    with Repository.open(url, must_exist=True) as repository:
        study = repository.get_study("large")
        repository.hold_study(study.id)
        repository.recover(study.id)
        assert repository.count_by_state(study.id)
        follower = StudyFollower(repository, study.id)
        assert follower.trials()  # the fixed trials that are there already
        assert follower.trials()  # the view, of the same follower
        repository.release_study(study.id)


def first_view(url: str) -> None:
    """Counts, best and front: what a page needs before it has read every trial."""
    with Repository.open(url, read_only=True) as repository:
        assert repository.overview(repository.get_study("large").id).front


def main() -> None:
    """Fill, then time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        url = f"sqlite:///{folder}/large.db"
        study_id = fill(url, asked.trials)
        size = Path(folder, "large.db").stat().st_size / 2**20
        print(f"{asked.trials:,} trials, {size:.0f} MiB on SQLite")
        print(
            f"opening for resume        {seconds(lambda: resume(url)):7.3f} s (asked for: {RESUME_SECONDS} s)"
        )
        print(
            f"first view of a dashboard {seconds(lambda: first_view(url)):7.3f} s "
            f"(asked for: {FIRST_VIEW_SECONDS} s)"
        )
        with Repository.open(url) as repository:
            follower = StudyFollower(repository, study_id)
            follower.trials()
            repository.add_trial(study_id, "new", {})
            print(f"one step of a running search {seconds(follower.trials):.3f} s for its trials")


if __name__ == "__main__":
    main()
