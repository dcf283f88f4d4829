"""The record in the folder of one training: what was asked, how long it became, and the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from search.atomic import write_text_whole

RECORD = "training.json"


def claim(out: Path, told: dict[str, Any]) -> dict[str, Any]:
    """The record of this training in its folder; made if absent. UserError if the folder is another's.

    A training that left nothing behind, such as one refused for its weights, may be replaced by another.
    """
    path = out / RECORD
    if path.exists() and any(out.glob("*/*")):
        try:
            known: dict[str, Any] = json.loads(path.read_text())
            before = known["asked"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path} is damaged; remove {out} or choose another --out") from None
        for key, value in told.items():
            if before.get(key) != value:
                shown = "" if key == "data" else f" ({before.get(key)}, now {value})"
                raise UserError(f"{out} holds a training with another {key}{shown}; choose another --out")
        return known
    if out.exists() and any(out.iterdir()) and not path.exists():
        raise UserError(f"{out} is not empty and holds no training; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    known = {"asked": told}
    write_record(out, known)
    return known


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Write it whole or not at all."""
    write_text_whole(out / RECORD, json.dumps(record, indent=2) + "\n")
