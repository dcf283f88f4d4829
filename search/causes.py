"""Why a worker was lost, in one line for the record of its trial."""

from __future__ import annotations

import re
import time

WORKER_SILENCE_S = 1800.0  # a worker that reports nothing for this long hangs, and ends itself
NO_SPACE = (
    "no space left on the device of the study's folder, its database or the temporary files (df -h tells which): free "
    "some and run again; everything finished is kept"
)

_WORDS = (  # in Ray's messages, the telling ones first
    ("preempt", "its node was preempted"),
    ("memory", "out of memory: the worker was ended"),
    ("oom", "out of memory: the worker was ended"),
    ("node", "its node was lost"),
)


def lost_cause(error: BaseException | None, last_heard: float, silence_s: float = WORKER_SILENCE_S) -> str:
    """What ended a worker that gave no result.

    Args:
        error: what Ray tells about it, if anything.
        last_heard: `time.monotonic()` of its last report.
    """
    if time.monotonic() - last_heard >= silence_s:
        return f"hung: no sign of life for {silence_s:.0f} s, its process was ended"
    if getattr(error, "preempted", False):
        return "its node was preempted"
    text = " ".join(str(error or "").split())
    kind = type(error).__name__ if error is not None else ""
    if kind in ("NodeDiedError", "NodeUnavailableError"):
        return "its node was lost"
    if kind == "OutOfMemoryError":
        return "out of memory: the worker was ended"
    # Ray's own advice at the end of every message names all causes that there could be
    told = re.split("(?:possible|common|potential root) causes", text.lower())[0]
    for word, cause in _WORDS:
        if word in told:
            return cause
    return "the worker process died (killed, crashed, or out of memory)"
