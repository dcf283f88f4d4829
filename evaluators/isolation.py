"""Run a function in a process of its own with a time limit, so that a vendor library can crash, hang or eat all memory.

Arguments and results are JSON. The child is a fresh interpreter (never a fork: GPU drivers and thread pools do not
survive one), dies with its parent, and is the first that the kernel ends when memory runs out.
"""

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from foundation.errors import UserError, WorkFailedError

_ERRORS: dict[str, type[Exception]] = {"UserError": UserError, "WorkFailedError": WorkFailedError}
_PR_SET_PDEATHSIG = 1


def run_isolated(function: str, arguments: dict[str, Any], *, timeout_s: float) -> Any:
    """Call `module:function` with keyword arguments in a new process and return what it returns.

    Args:
        arguments: JSON values.
        timeout_s: the process is killed when it takes longer.

    Raises:
        UserError, WorkFailedError: the function raised it, or (WorkFailedError) the process crashed, was killed, ran
            out of memory or of time, or raised anything else; one line says which.
    """
    with tempfile.TemporaryDirectory(prefix="yolov6-isolated-") as folder:
        answer, errors = Path(folder) / "answer.json", Path(folder) / "stderr"
        request = json.dumps({"function": function, "arguments": arguments, "answer": str(answer)})
        with errors.open("wb") as stderr:
            child = subprocess.Popen(
                [sys.executable, "-m", "evaluators.isolation"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },  # find what we find
                start_new_session=True,  # so that what it starts is killed with it
            )
        try:
            child.communicate(request.encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise WorkFailedError(f"{_name(function)} hung: no result after {timeout_s:g} s") from None
        finally:
            _end(child)
        if child.returncode != 0 or not answer.is_file():
            raise WorkFailedError(f"{_name(function)} {_death(child.returncode, errors)}")
        told = json.loads(answer.read_text())
    if "error" in told:
        raise _ERRORS.get(told["error"], WorkFailedError)(told["message"])
    return told["result"]


def _end(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _death(code: int, errors: Path) -> str:
    """Why a process ended without an answer."""
    if code == -signal.SIGKILL:
        return "was killed (out of memory?)"
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    lines = errors.read_text(errors="replace").strip().splitlines()
    return f"ended with code {code}: {lines[-1] if lines else 'no message'}"


def _name(function: str) -> str:
    return function.rpartition(":")[2].replace("_", " ")


def _serve() -> None:
    """The child: read one request, answer it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    request = json.loads(sys.stdin.buffer.read())
    module, _, name = request["function"].partition(":")
    try:
        told = {"result": getattr(importlib.import_module(module), name)(**request["arguments"])}
    except (UserError, WorkFailedError) as error:
        told = {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        told = {"error": "WorkFailedError", "message": f"{_name(request['function'])} ran out of memory"}
    except Exception as error:  # noqa: BLE001 - whatever happened must reach the parent as one line
        told = {"error": "WorkFailedError", "message": f"{type(error).__name__}: {error}"}
    Path(request["answer"]).write_text(json.dumps(told))


if __name__ == "__main__":
    _serve()
