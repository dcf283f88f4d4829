"""Run a function in a process of its own with a time limit, so that a vendor library can crash, hang or eat all memory.

Arguments and results are JSON. The child is a fresh interpreter (never a fork: GPU drivers and thread pools do not
survive one), dies with its parent, and is the first that the kernel ends when memory runs out. Nothing is written to
the disk, so nothing is left there when either is killed.
"""

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from foundation.errors import UserError, WorkFailedError

_ERRORS: dict[str, type[Exception]] = {"UserError": UserError, "WorkFailedError": WorkFailedError}
_PR_SET_PDEATHSIG = 1
Child = subprocess.Popen[bytes]


def run_isolated(function: str, arguments: dict[str, Any], *, timeout_s: float) -> Any:
    """Call `module:function` with keyword arguments in a new process and return what it returns.

    Args:
        arguments: JSON values.
        timeout_s: the process is killed when it takes longer.

    Raises:
        UserError, WorkFailedError: the function raised it, or (WorkFailedError) the process crashed, was killed, ran
            out of memory or of time, or raised anything else; one line says which.
    """
    name = _name(function)
    request = json.dumps({"function": function, "arguments": arguments})
    with tempfile.TemporaryFile() as errors:
        child = start_child("evaluators.isolation", errors)
        try:
            answer, _ = child.communicate(request.encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise WorkFailedError(f"{name} hung: no result after {timeout_s:g} s") from None
        finally:
            end_child(child)
        if child.returncode != 0 or not answer:
            raise WorkFailedError(f"{name} {death_of(child, errors)}")
    return result_of(json.loads(answer))


def start_child(module: str, errors: IO[bytes]) -> Child:
    """`python -m module`, which has to begin with `become_child`.

    Args:
        errors: gets its standard error.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # find what we find
        start_new_session=True,  # so that what it starts is killed with it
    )


def kill_child(child: Child) -> None:
    """Kill it and all it started, if it still runs."""
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def end_child(child: Child) -> None:
    """Kill it if it still runs, see it off, and close the pipes to it."""
    kill_child(child)
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not written yet has no reader
                pipe.close()


def death_of(child: Child, errors: IO[bytes]) -> str:
    """Why a process ended without an answer."""
    code = child.wait()
    if code == -signal.SIGKILL:
        return "was killed (out of memory?)"
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return f"ended with code {code}: {lines[-1] if lines else 'no message'}"


def become_child() -> IO[bytes]:
    """In the child: die with the parent, go first when memory runs out, and keep the way to the parent for answers.

    Returns:
        where answers go; what a library prints to standard output is dropped from now on.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return answers


def answer_of(what: str, call: Callable[[], Any]) -> dict[str, Any]:
    """In the child: the result of a call, or its error in one line."""
    try:
        return {"result": call()}
    except (UserError, WorkFailedError) as error:
        return {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        return {"error": "WorkFailedError", "message": f"{what} ran out of memory"}
    except Exception as error:  # noqa: BLE001 - whatever happened must reach the parent as one line
        return {"error": "WorkFailedError", "message": f"{type(error).__name__}: {error}"}


def result_of(answer: dict[str, Any]) -> Any:
    """In the parent: inverse of `answer_of`; raises what was raised there."""
    if "error" in answer:
        raise _ERRORS.get(answer["error"], WorkFailedError)(answer["message"])
    return answer["result"]


def _name(function: str) -> str:
    return function.rpartition(":")[2].replace("_", " ")


def _serve() -> None:
    """The child: read one request, answer it."""
    answers = become_child()
    request = json.loads(sys.stdin.buffer.read())
    module, _, name = request["function"].partition(":")

    def call() -> Any:
        return getattr(importlib.import_module(module), name)(**request["arguments"])

    with answers:
        answers.write(json.dumps(answer_of(_name(request["function"]), call)).encode())


if __name__ == "__main__":
    _serve()
