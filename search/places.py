"""How many trainings a search runs at once, and what each takes of the machines that Ray has.

Every training process takes one GPU where there are any, else CPU cores alone. Processes that share one training are on
one machine: its device lock keeps all of them still while somebody measures there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foundation.cli import progress
from foundation.errors import UserError

Node = Mapping[str, float]  # what it offers in all, by Ray's names: CPU, GPU

LEADER_CPUS = 0.01  # of the process that leads the processes of a training and computes nothing itself
CORES_OF_A_TRAINING = 2  # on machines without GPUs, unless told otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Attributes:
    workers: trainings at once.
    processes: of each training.
    threads: CPU threads of each process.
    """

    workers: int
    processes: int
    threads: int


def local_cpus(workers: int | None) -> int:
    """CPUs that Ray may give away on this machine: its cores, or as many as workers were asked for."""
    return max(cores(), workers or 1)


def local_gpus() -> int | None:
    """GPUs of this machine that can be trained on; None leaves it to Ray, where no NVIDIA driver is known of."""
    from evaluators.hardware import has_nvidia_gpu

    if not has_nvidia_gpu():
        return None
    import torch

    usable = torch.cuda.device_count()
    if not usable:
        progress(
            "an NVIDIA GPU is here, but torch cannot use it (a build without CUDA, or an old driver): training on CPUs"
        )
    return usable


def cores() -> int:
    """Of this machine."""
    return os.cpu_count() or 1


def nodes() -> list[Node]:
    """What each living node of the Ray session offers."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def places(
    there: Sequence[Node], *, workers: int | None, processes: int, more_may_join: bool = False
) -> Places:
    """Share out what is there: a GPU for each process where there are any, else about two cores for a training.

    Args:
        there: nodes; CPUs are cores.
        workers: trainings at once as asked for; None for as many as have room.
        more_may_join: trainings of one process for which there is no room may wait for other nodes.

    Raises:
        UserError: no machine can hold one training, or all together cannot hold as many as were asked for.
    """
    kind, wanted = ("GPU", processes) if _with_gpus(there) else ("CPU", max(CORES_OF_A_TRAINING, processes))
    units = [int(node.get(kind, 0.0)) for node in there]
    room = sum(count // processes for count in units)
    words = "GPU" if kind == "GPU" else "CPU core"
    if not room:
        most = max(units, default=0)
        raise UserError(
            f"--processes-per-trial {processes}: no machine has {_many(processes, words)} for them, the largest has "
            f"{most}; ask for at most that"
        )
    usual = [count // wanted for count in units]
    if not sum(usual):
        usual = [count // processes for count in units]
    at_once = workers or sum(usual)
    may_wait = processes == 1 and (kind == "CPU" or more_may_join)
    if at_once > room and not may_wait:
        raise UserError(
            f"--workers {at_once}: there is room for {_many(room, 'training')} of {_many(processes, words)} each; "
            "ask for at most that"
        )
    here = [math.ceil(at_once * part / sum(usual)) for part in usual]
    if kind == "GPU":  # those that wait for other nodes take nothing of these
        here = [min(each, count // processes) for each, count in zip(here, units, strict=True)]
    threads = [
        int(node.get("CPU", 0.0)) // (each * processes)
        for node, each in zip(there, here, strict=True)
        if each
    ]
    return Places(workers=at_once, processes=processes, threads=max(1, min(threads)))


def process_resources(threads: int) -> dict[str, float]:
    """CPUs, and a GPU where the cluster has any, of one training process.

    CPUs are never more than its largest node has, and with GPUs never so many that a GPU would be left without.
    """
    there = nodes()
    if with_gpu := _with_gpus(there):
        share = min(node.get("CPU", 0.0) / int(node["GPU"]) for node in with_gpu)
        return {"cpu": math.floor(min(threads, share) * 100) / 100, "gpu": 1.0}
    return {
        "cpu": max(1.0, min(threads, max((node.get("CPU", 0.0) for node in there), default=1.0))),
        "gpu": 0.0,
    }


def trial_resources(threads: int, processes: int) -> dict[str, float]:
    """What Ray Tune sets aside for a trial: its one process's share, or next to nothing where it leads others.

    Those ask for themselves (`rank_resources`), all at once; together with their leader they take no more than so many
    trainings of one process, so trials that were let in never wait for each other.
    """
    return process_resources(threads) if processes == 1 else {"cpu": LEADER_CPUS, "gpu": 0.0}


def rank_resources(threads: int) -> dict[str, float]:
    """The same for one of several processes of a training, by Ray Train's names."""
    alone = process_resources(threads)
    return {"CPU": max(0.0, alone["cpu"] - LEADER_CPUS), "GPU": alone["gpu"]}


def processes_here(workers: int, processes: int, threads: int) -> int:
    """How many training processes may run at once on the machine of this worker, itself included."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    node: Node = next((one["Resources"] for one in ray.nodes() if one["NodeID"] == here), {})
    needed = process_resources(threads)
    fitting = min(node.get(kind.upper(), 0.0) // amount for kind, amount in needed.items() if amount)
    return max(1, min(workers * processes, int(fitting)))


def _with_gpus(there: Sequence[Node]) -> list[Node]:
    return [node for node in there if node.get("GPU", 0.0) >= 1]


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
