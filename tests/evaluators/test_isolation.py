import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from evaluators.isolation import run_isolated
from foundation.errors import UserError, WorkFailedError

HERE = "tests.evaluators.test_isolation"


def add(left, right):
    print("chatter of a vendor library")
    return {"sum": left + right, "pid": os.getpid()}


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def hang(path):
    child = subprocess.Popen(["sleep", "60"])
    Path(path).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(60)


def leave():
    print("the driver is gone", file=sys.stderr)
    os._exit(3)


def exhaust():
    raise MemoryError


def refuse(kind):
    raise {"user": UserError, "work": WorkFailedError, "other": KeyError}[kind]("because")


def test_results_come_back_from_another_process():
    told = run_isolated(f"{HERE}:add", {"left": 1, "right": 2}, timeout_s=60)
    assert told["sum"] == 3
    assert told["pid"] != os.getpid()


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("crash", r"crash crashed \(SIGSEGV\)"),
        ("killed", "was killed .out of memory"),
        ("leave", "ended with code 3: the driver is gone"),
        ("exhaust", "ran out of memory"),
    ],
)
def test_a_death_becomes_a_reason(function, reason):
    with pytest.raises(WorkFailedError, match=reason):
        run_isolated(f"{HERE}:{function}", {}, timeout_s=60)


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("user", UserError, "because"),
        ("work", WorkFailedError, "because"),
        ("other", WorkFailedError, "KeyError"),
    ],
)
def test_errors_keep_their_kind(kind, error, message):
    with pytest.raises(error, match=message):
        run_isolated(f"{HERE}:refuse", {"kind": kind}, timeout_s=60)


def wait_for_the_end(pid, deadline):
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_hanging_process_is_ended_with_all_it_started(tmp_path):
    note = tmp_path / "pids"
    with pytest.raises(WorkFailedError, match="hang hung: no result after"):
        run_isolated(f"{HERE}:hang", {"path": str(note)}, timeout_s=6)
    deadline = (
        time.monotonic() + 20
    )  # what is killed may take a moment to die; left alone they would sleep longer
    for pid in map(int, note.read_text().split()):
        wait_for_the_end(pid, deadline)


def test_a_child_dies_with_its_parent(tmp_path):
    note = tmp_path / "pids"
    call = f"run_isolated('{HERE}:hang', {{'path': '{note}'}}, timeout_s=60)"
    code = f"from evaluators.isolation import run_isolated; {call}"
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not note.exists() or len(note.read_text().split()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    wait_for_the_end(int(note.read_text().split()[0]), deadline)
    os.kill(int(note.read_text().split()[1]), signal.SIGKILL)
