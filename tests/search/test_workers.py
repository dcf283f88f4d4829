"""Every way a worker can go wrong, on a real Ray with a fake trainer: a state, a reason, and the search goes on."""

import errno
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UserError, WorkFailedError
from search.causes import lost_cause
from search.parallel import ProcessLostError
from search.stages import Bench, TrainJob
from search.training import OutOfTime, TrainingDiverged
from search.workers import outcome_of, ray_session, run_jobs
from storage import Repository, TrialState
from tests.search.conducting import conductor
from tests.search.fakes import trained

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ("raises", "nan", "misses", "exits", "dies once", "hangs", "freezes", "disk", "none")
SILENCE_S = 8.0  # a worker has half as long again to start, also on a busy machine


def faulty(config: dict[str, Any]) -> None:
    """A trainable whose n-th job has the n-th fault; it remembers in a file what was tried already."""
    from ray import tune

    from search.tune_adapter import JOB, OUTCOME
    from search.workers import outcome_of, watchdog

    sys.path.insert(0, str(ROOT))
    job = TrainJob.from_dict(json.loads(config[JOB]))
    folder = Path(json.loads(config["bench"])["folder"])
    fault = FAULTS[job.trial_id - 1]
    first = not (folder / f"tried-{job.trial_id}").exists()
    (folder / f"tried-{job.trial_id}").touch()

    def work() -> dict[str, Any]:
        result = trained(job)
        if fault == "hangs" and first:
            time.sleep(600)
        if fault == "freezes" and first:
            os.kill(os.getpid(), signal.SIGSTOP)  # not even its own watchdog runs then
        if fault == "dies once" and first:
            os._exit(9)
        if fault == "raises":
            raise ValueError("the loss is not finite")
        if fault == "exits":
            sys.exit(3)
        if fault == "nan":
            result["deployed"] = {**result["deployed"], "figures": {"AP": float("nan"), "AP50": 0.5}}
        if fault == "misses":
            result["deployed"] = {**result["deployed"], "figures": {"AP50": 0.5}}
        if fault == "disk" and first:
            raise OSError(errno.ENOSPC, "No space left on device")
        return result

    with watchdog(SILENCE_S):
        result = outcome_of(work)
    tune.report({OUTCOME: json.dumps(result)})


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_fault_ends_in_its_state_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    bench = Bench(
        data="bundled",
        hardware="cpu",
        image_size=320,
        batch=1,
        train_batch=8,
        seed=0,
        threads=1,
        folder=str(tmp_path),
        target_ms=8.8,
        device="cpu",
    )
    with Repository.open(f"sqlite:///{tmp_path / 'search.db'}") as repository:
        one = conductor(repository, trials=None, fixed=len(FAULTS), only_fixed=True, target_ms=1e6)
        one.add_fixed_trials()
        with ray_session(None, 2, "cpu"):  # the frozen one never gives its CPU back
            run_jobs(
                one,
                bench,
                workers=1,
                folder=tmp_path,
                stopped=lambda: False,
                runner=faulty,
                silence_s=SILENCE_S,
            )
        trials = repository.trials(1)
        ended = dict(zip(FAULTS, trials, strict=True))
        events = repository.events(1, limit=10_000)
    assert all(trial.state.is_finished for trial in trials)
    reasons = {fault: trial.reason for fault, trial in ended.items() if trial.state is TrialState.FAILED}
    assert set(reasons) == {"raises", "exits", "nan", "misses"}
    assert "not finite" in reasons["raises"] and "SystemExit" in reasons["exits"]
    assert "nan" in reasons["nan"] and "lacks 'AP'" in reasons["misses"]
    lost = {event.trial_id: event.message for event in events if event.kind == "recovered"}
    assert "hung: no sign of life" in lost[ended["hangs"].id]
    assert "hung: no sign of life" in lost[ended["freezes"].id]
    assert "worker process died" in lost[ended["dies once"].id]
    assert "no space left" in lost[ended["disk"].id]
    ends = Counter(event.trial_id for event in events if event.kind in ("finished", "failed"))
    assert set(ends.values()) == {1}


class NodeDiedError(Exception):
    """Named as Ray's."""


class OutOfMemoryError(Exception):
    """Named as Ray's."""


class Preempted(Exception):  # noqa: N818
    preempted = True


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NodeDiedError("x"), "its node was lost"),
        (OutOfMemoryError("x"), "out of memory"),
        (Preempted("x"), "preempted"),
        (RuntimeError("The actor died: node 12 was terminated. Possible causes: oom"), "its node was lost"),
        (RuntimeError("worker killed due to memory pressure"), "out of memory"),
        (RuntimeError("exit code 9. Potential root causes: out of memory"), "the worker process died"),
        (RuntimeError("End of file. Some common causes include: the OOM killer"), "the worker process died"),
        (None, "the worker process died"),
    ],
)
def test_causes_in_words(error: BaseException | None, words: str) -> None:
    assert words in lost_cause(error, time.monotonic())
    assert "hung" in lost_cause(error, time.monotonic() - 100, silence_s=60)


def raising(error: Exception) -> Any:
    def work() -> dict[str, Any]:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (
            ProcessLostError("one of the processes was lost: killed"),
            {"lost": "one of the processes was lost: killed"},
        ),
        (OutOfTime("no time"), {"failed": "no time", "out_of_time": True}),
        (TrainingDiverged("at step 3"), {"failed": "at step 3"}),
        (
            WorkFailedError("process 1 of 2 failed: KeyError: 3"),
            {"failed": "process 1 of 2 failed: KeyError: 3"},
        ),
        (OSError(errno.ENOSPC, "No space left on device"), {"no_space": True}),
        (UserError("1.png cannot be read"), {"fatal": "1.png cannot be read"}),
        (KeyError("x"), {"failed": "KeyError: 'x'"}),
    ],
)
def test_every_end_of_a_training_is_told(error: Exception, outcome: dict[str, Any]) -> None:
    assert outcome_of(raising(error)) == outcome
