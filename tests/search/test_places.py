"""How what is there is shared out: GPUs where there are any, else cores; on machines that are only pretended."""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from foundation.errors import UserError
from search.options import SearchOptions
from search.places import (
    LEADER_CPUS,
    Node,
    Places,
    local_cpus,
    local_gpus,
    places,
    process_resources,
    processes_here,
    rank_resources,
    trial_resources,
)
from search.stages import Bench, TrainJob
from search.workers import run_jobs

ROOT = Path(__file__).resolve().parents[2]
HEAD: Node = {"CPU": 0.0}


def cpus(count: int) -> Node:
    return {"CPU": float(count)}


def gpus(count: int, cores: int = 16) -> Node:
    return {"CPU": float(cores), "GPU": float(count)}


@pytest.mark.parametrize(
    ("there", "workers", "processes", "shared"),
    [
        ([cpus(1)], None, 1, (1, 1)),
        ([cpus(2)], None, 1, (1, 2)),
        ([cpus(8)], None, 1, (4, 2)),
        ([cpus(8)], None, 2, (4, 1)),
        ([cpus(8)], None, 4, (2, 1)),
        ([cpus(8)], 1, 4, (1, 2)),
        ([cpus(2)], 3, 1, (3, 1)),  # asked for: may share cores, as ever
        ([gpus(1)], None, 1, (1, 16)),  # not one per two cores
        ([gpus(4)], None, 1, (4, 4)),
        ([gpus(4)], None, 2, (2, 4)),
        ([gpus(4)], 1, 2, (1, 8)),
        ([gpus(3)], None, 2, (1, 8)),  # one GPU is left over
        ([gpus(8, cores=4)], None, 1, (8, 1)),  # more GPUs than cores
        ([HEAD, gpus(1), gpus(1), cpus(64)], None, 1, (2, 16)),  # with GPUs about, none trains on cores
        ([HEAD, gpus(2), gpus(3), gpus(1)], None, 2, (2, 8)),  # never over two machines
        ([HEAD, cpus(8), cpus(4)], None, 2, (6, 1)),
    ],
)
def test_what_is_there_is_shared_out(
    there: list[Node], workers: int | None, processes: int, shared: tuple[int, int]
) -> None:
    at_once, threads = shared
    expected = Places(workers=at_once, processes=processes, threads=threads)
    assert places(there, workers=workers, processes=processes) == expected


@pytest.mark.parametrize(
    ("there", "workers", "processes", "words"),
    [
        ([cpus(2)], None, 4, "no machine has 4 CPU cores for them, the largest has 2; ask for at most that"),
        ([gpus(2), gpus(2)], None, 4, "no machine has 4 GPUs for them, the largest has 2"),
        ([gpus(4)], 3, 2, "--workers 3: there is room for 2 trainings of 2 GPUs each; ask for at most that"),
        ([gpus(1)], 8, 1, "--workers 8: there is room for 1 training of 1 GPU each"),
        ([cpus(4)], 3, 2, "--workers 3: there is room for 2 trainings of 2 CPU cores each"),
    ],
)
def test_what_has_no_room_is_refused(
    there: list[Node], workers: int | None, processes: int, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        places(there, workers=workers, processes=processes)


def test_a_cluster_may_grow_where_a_training_needs_one_process() -> None:
    waiting = places([gpus(1), gpus(1)], workers=8, processes=1, more_may_join=True)
    assert waiting == Places(workers=8, processes=1, threads=16)
    with pytest.raises(UserError, match="room for 2 trainings"):
        places([gpus(2), gpus(2)], workers=8, processes=2, more_may_join=True)


def test_a_batch_is_shared_by_no_more_processes_than_it_has_images() -> None:
    with pytest.raises(UserError, match="--processes-per-trial 9: a batch of 8 images cannot be shared"):
        SearchOptions(target_ms=5.0, processes_per_trial=9)


def pretend(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    told = [{"NodeID": str(place), "Alive": True, "Resources": node} for place, node in enumerate(nodes)]
    monkeypatch.setattr(ray, "nodes", lambda: [*told, {"Alive": False, "Resources": {"GPU": 99.0}}])
    context = SimpleNamespace(get_node_id=lambda: "0")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)


@pytest.mark.parametrize("there", [gpus(8, cores=4), gpus(4), gpus(6, cores=7), cpus(8), cpus(5)])
@pytest.mark.parametrize("processes", [2, 3, 4])
def test_trials_that_were_let_in_all_find_room(
    there: Node, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend([there], monkeypatch)
    shared = places([there], workers=None, processes=processes)
    trial, rank = trial_resources(shared.threads, processes), rank_resources(shared.threads)
    assert trial == {"cpu": LEADER_CPUS, "gpu": 0.0}
    assert rank["GPU"] == (1.0 if "GPU" in there else 0.0)
    taken = shared.workers * (trial["cpu"] + processes * rank["CPU"])
    assert taken <= there["CPU"] and rank["CPU"] > 0
    alone = process_resources(
        shared.threads
    )  # afterwards, beside the leader and whatever the other trials do
    assert trial["cpu"] + alone["cpu"] <= there["CPU"] / shared.workers
    assert trial_resources(shared.threads, 1) == alone


@pytest.mark.parametrize(
    ("nodes", "workers", "processes", "here"),
    [
        ([cpus(8)], 4, 1, 4),  # one machine: all of them
        ([cpus(8)], 2, 2, 4),
        ([cpus(8), cpus(8), cpus(8)], 12, 1, 4),  # a cluster: as many as fit here
        ([gpus(2, cores=64)], 8, 1, 2),
        ([gpus(4), gpus(4)], 4, 2, 4),
        ([cpus(1)], 3, 1, 1),
    ],
)
def test_how_many_processes_share_the_memory_of_a_machine(
    nodes: list[Node], workers: int, processes: int, here: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(nodes, monkeypatch)
    assert processes_here(workers, processes, threads=2) == here


def test_workers_beyond_the_cores_get_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert local_cpus(None) == 2 and local_cpus(1) == 2 and local_cpus(3) == 3


def test_only_gpus_that_torch_can_use_are_given_away(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evaluators.hardware.has_nvidia_gpu", lambda: False)
    assert local_gpus() is None
    monkeypatch.setattr("evaluators.hardware.has_nvidia_gpu", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert local_gpus() == 2 and not capfd.readouterr().err
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert local_gpus() == 0 and "torch cannot use it" in capfd.readouterr().err


class Jobs:
    """Some jobs without a candidate, and what came of them."""

    def __init__(self, count: int) -> None:
        self._left = list(range(1, count + 1))
        self.failures: list[str] = []
        self.results: list[dict[str, Any]] = []

    @property
    def done(self) -> bool:
        return not self._left

    def next_job(self) -> TrainJob | None:
        return TrainJob(trial_id=self._left.pop(), candidate={}, epochs=1) if self._left else None

    def progressed(self, *_: Any) -> None: ...

    def succeeded(self, job: TrainJob, result: dict[str, Any]) -> None:
        self.results.append(result)

    def failed(self, job: TrainJob, reason: str, *, out_of_time: bool = False) -> None:
        self.failures.append(reason)

    def lost(self, job: TrainJob, cause: str) -> None:
        self.failures.append(cause)


def pretending(config: dict[str, Any]) -> None:
    """A trainable that takes the GPUs of its training without using them, until every trial has its own."""
    import ray
    from ray import tune
    from ray.util.placement_group import placement_group, remove_placement_group

    sys.path.insert(0, str(ROOT))
    from search.places import process_resources, rank_resources
    from search.tune_adapter import BENCH, JOB, OUTCOME

    def seen() -> str:
        return ",".join(map(str, ray.get_gpu_ids()))

    bench = json.loads(config[BENCH])
    gpus = [seen()]
    if bench["processes"] > 1:
        group = placement_group(
            [rank_resources(bench["threads"])] * bench["processes"], strategy="STRICT_PACK"
        )
        assert group.wait(60)
        gpus = ["both"]
    here = Path(bench["folder"]) / f"trial-{json.loads(config[JOB])['trial_id']}"
    here.touch()
    while len(list(here.parent.glob("trial-*"))) < bench["workers"]:
        time.sleep(0.05)
    if bench["processes"] > 1:
        remove_placement_group(group)
        share = process_resources(bench["threads"])
        alone = {"num_cpus": share["cpu"], "num_gpus": share["gpu"], "scheduling_strategy": "DEFAULT"}
        gpus.append(ray.get(ray.remote(**alone)(seen).remote(), timeout=60))
    tune.report({OUTCOME: json.dumps({"gpus": gpus})})


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_trial_has_gpus_of_its_own(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    monkeypatch.chdir(tmp_path)
    ray.init(
        num_cpus=3, num_gpus=4, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False
    )
    try:
        there = [node["Resources"] for node in ray.nodes()]
        for processes in (1, 2):
            shared = places(there, workers=2, processes=processes)
            folder = tmp_path / str(processes)
            folder.mkdir()
            jobs = Jobs(shared.workers)
            run_jobs(
                jobs,
                replace(
                    bench,
                    workers=shared.workers,
                    processes=processes,
                    threads=shared.threads,
                    folder=str(folder),
                ),
                workers=shared.workers,
                folder=folder,
                stopped=lambda: False,
                runner=pretending,
            )
            assert not jobs.failures
            found = [result["gpus"] for result in jobs.results]
            assert len(found) == 2
            if processes == 1:
                assert found[0] != found[1] and {len(ids.split(",")) for (ids,) in found if ids} == {1}
            else:  # both at once had two of the four, and one alone afterwards
                assert all(both == "both" and one in {"0", "1", "2", "3"} for both, one in found)
    finally:
        ray.shutdown()
