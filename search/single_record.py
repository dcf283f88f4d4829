"""The record in the folder of one training: what was asked, how long it became, and the result."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli import progress
from foundation.errors import UserError
from search.atomic import remove_leftovers, write_text_whole

if TYPE_CHECKING:
    from search.training import TrainedNetwork

RECORD = "training.json"
LOCK = ".lock"  # held by the process that trains


@contextmanager
def claimed(out: Path, told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The record of this training in its folder, made if absent; nobody else may train there meanwhile.

    A training that left nothing behind, such as one refused for its weights, may be replaced by another.

    Raises:
        UserError: the folder is another's, or another process trains in it now.
    """
    _refuse_other_things(out)
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process trains in {out} now; wait for its end or choose another --out"
            ) from None
        remove_leftovers(out)
        yield _record(out, told)


def _refuse_other_things(out: Path) -> None:
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    if there - {LOCK} and RECORD not in there:
        raise UserError(f"{out} is not empty and holds no training; choose another --out")


def _record(out: Path, told: dict[str, Any]) -> dict[str, Any]:
    path = out / RECORD
    if path.exists() and any(out.glob("*/*")):
        try:
            known: dict[str, Any] = json.loads(path.read_text())
            before = dict(known["asked"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path} is damaged; remove {out} or choose another --out") from None
        for key, value in told.items():
            if key not in before and value is not None:
                raise UserError(f"{out} holds a training of another kind; choose another --out")
            if before.get(key) != value:
                shown = "" if key == "data" else f" ({before.get(key)}, now {value})"
                raise UserError(f"{out} holds a training with another {key}{shown}; choose another --out")
        return known
    known = {"asked": told}
    write_record(out, known)
    return known


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Write it whole or not at all."""
    write_text_whole(out / RECORD, json.dumps(record, indent=2) + "\n")


def trained_before(out: Path, known: dict[str, Any]) -> TrainedNetwork | None:
    """The trained network of an earlier call that was interrupted afterwards; None where it is not whole."""
    from safetensors import SafetensorError, safe_open

    from search.training import TrainedNetwork

    if "trained" not in known:
        return None
    try:
        weights = out / "run" / known["trained"]["weights"]
        with safe_open(weights, "pt"):
            return TrainedNetwork(**{**known["trained"], "weights": weights})
    except (OSError, SafetensorError, KeyError, TypeError):
        progress(f"{out} holds no whole network of an earlier call: it is trained again")
        return None


def is_intact(folder: Path) -> bool:
    """Whether a whole artefact is there."""
    from evaluators.artefact import load_artefact

    try:
        load_artefact(folder)
    except UserError:
        return False
    return True
