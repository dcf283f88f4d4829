"""Everything a run needs to go on after a kill, in one file that is whole or absent."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from foundation.cli import is_disk_full
from foundation.errors import UserError
from search.atomic import written_whole

FULL_BYTES = 2**20  # less than this left: a write that failed did so for want of space
FILE = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State between two steps.

    Attributes:
        run: digest of everything that decides the run; a checkpoint of another run is not used.
        step: steps done.
        seconds: wall time so far.
        state: state dicts by part (network, average, optimizer, ...), plain values and tensors.
    """

    run: str
    step: int
    seconds: float
    state: dict[str, Any]


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write atomically and durably.

    Raises:
        UserError: the disk is full; an earlier checkpoint is as it was.
    """
    try:
        with written_whole(folder / FILE) as file:
            torch.save(
                {
                    "run": checkpoint.run,
                    "step": checkpoint.step,
                    "seconds": checkpoint.seconds,
                    "state": checkpoint.state,
                },
                file,
            )
    except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
        free = shutil.disk_usage(folder).free
        if is_disk_full(error) or free < FULL_BYTES:
            raise UserError(
                f"{folder}: no space left for a checkpoint ({free // 2**20} MiB free); free some and run again: "
                "it goes on from the last one"
            ) from error
        raise


def find_checkpoint(folder: Path, run: str) -> Checkpoint | None:
    """The checkpoint of this very run, None when there is none (or it is of another run, or unreadable)."""
    try:
        stored = torch.load(folder / FILE, map_location="cpu", weights_only=True)
        checkpoint = Checkpoint(stored["run"], stored["step"], stored["seconds"], stored["state"])
    except (OSError, RuntimeError, UnpicklingError, EOFError, KeyError, TypeError):
        return None  # a run starts anew rather than fail over a file it could write itself
    return checkpoint if checkpoint.run == run else None


def remove_checkpoint(folder: Path) -> None:
    """After the end of a run."""
    (folder / FILE).unlink(missing_ok=True)
