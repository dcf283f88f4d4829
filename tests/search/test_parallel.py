"""Training through Ray Train: the way to an artefact on real processes, and every way to end early."""

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray.exceptions import RayActorError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.util.queue import Empty

from evaluators.artefact import load_artefact
from evaluators.data import DetectionData
from foundation.errors import UserError, WorkFailedError
from search import parallel
from search.parallel import ProcessLostError, check_processes, threads_of_each
from search.single import run_single
from search.training import TrainingDiverged
from search.training.ranks import Ranks
from tests.search.test_single import asked, spec  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[2]
PEER_GONE = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [192.0.2.2]:12345")
SILENT = WorkerHealthCheckFailedError(
    "A worker health check failed.",
    RayActorError(error_msg="End of file. Some common causes include: (1) the OOM killer"),
)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})


@pytest.mark.slow
def test_two_processes_train_a_network(
    spec: Path,  # noqa: F811
    rectangles: DetectionData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # the end is seen sooner
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    told = asked(spec, rectangles, Path("out"), processes=2, judge_every=1, compile_network=True)
    result = run_single(told)
    assert result["training"]["images_seen"] == 20
    assert load_artefact(tmp_path / "out" / "network").hash == result["artefact"]["hash"]
    printed, said = capfd.readouterr()
    assert not printed  # standard output is for results
    assert "--compile: it is for NVIDIA GPUs" in said
    assert "step 3/5" in said and "val AP" in said  # judged by rank 0, told here
    assert [path.name for path in (tmp_path / "out" / "run").iterdir()] == ["weights.safetensors"]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_sigterm_ends_the_session_as_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    events = []

    @contextmanager
    def session(*arguments: object) -> Iterator[None]:
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(number))  # as Ray does
        try:
            yield
        finally:
            events.append("all processes ended")

    monkeypatch.setattr(parallel, "ray_session", session)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), parallel._session(2, "cpu"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert events and signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("failures", "words"),
    [
        ({0: PEER_GONE, 1: SILENT}, "one of the processes was lost: the worker process died"),
        ({0: PEER_GONE}, "the processes lost touch with each other: .* Connection closed by peer"),
        ({}, "one of the processes was lost"),
    ],
)
def test_why_the_processes_ended_is_one_line(failures: dict[int, Exception], words: str) -> None:
    raised = WorkerGroupError("three\nlines\nof Ray", failures)

    def fit() -> None:
        raise raised

    seen: list[Any] = []
    with pytest.raises(WorkFailedError, match=rf"{words}.*; the same command goes on") as lost:
        parallel._followed(SimpleNamespace(fit=fit), Reports("half way"), seen.append)
    assert seen == ["half way"] and "\n" not in str(lost.value)
    assert (
        isinstance(lost.value, ProcessLostError) and "same command" not in lost.value.cause
    )  # a search's own words


class Reports(list[Any]):
    """A queue between processes."""

    def __init__(self, *reports: Any) -> None:
        super().__init__(reports)

    def put(self, report: Any) -> None:
        self.append(report)

    def get(self, timeout: float) -> Any:
        if not self:
            raise Empty
        return self.pop(0)


def raising(error: Exception) -> Any:
    def training(**named: object) -> None:
        raise error

    return training


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("7.png cannot be read"), UserError("7.png cannot be read")),
        (TrainingDiverged("at step 3"), TrainingDiverged("at step 3")),
        (KeyError("two\nlines"), WorkFailedError("process 2 of 2 failed: KeyError: 'two\\nlines'")),
        (OSError(errno.ENOSPC, "No space left"), OSError(errno.ENOSPC, "No space left")),
        (PEER_GONE, None),
    ],
)
def test_a_rank_tells_what_it_did_itself(
    error: Exception, told: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ranks, "joined", lambda: Ranks(1, 2))
    reports = Reports()
    with pytest.raises(type(error)):
        parallel._rank(raising(error), reports)
    assert [(type(each), str(each)) for each in reports] == ([(type(told), str(told))] if told else [])
    if told:
        with pytest.raises(type(told)):
            parallel._followed(SimpleNamespace(fit=raising(PEER_GONE)), reports, print)


def test_more_processes_than_can_work_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_processes(2, 8)
    assert threads_of_each(1) == 2 and threads_of_each(2) == 1
    with pytest.raises(UserError, match="batch of 4 images cannot be shared"):
        check_processes(5, 4)
    with pytest.raises(UserError, match="--processes 3: this machine has 2 CPU cores; ask for at most that"):
        check_processes(3, 8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    check_processes(4, 8)
    with pytest.raises(UserError, match="this machine has 4 GPUs"):
        check_processes(5, 8)
