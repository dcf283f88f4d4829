"""What PTQ cost the best network of a study, and whether QAT is worth its time there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage.front import of_a_part
from storage.states import Origin

if TYPE_CHECKING:
    from storage.records import TrialRecord

# AP. QAT got two thirds of a loss back (docs/training.md), and what is below .005 nobody can tell from noise.
WORTH_QAT = 0.01


def lost_by_ptq(trial: TrialRecord) -> float | None:
    """AP in float less AP as int8 by PTQ, where that is worth QAT; None elsewhere.

    Both are figures of all images and of the same epochs, else nothing can be said.
    """
    before, after = trial.evaluations.get(Origin.TRAINED), trial.deployed
    if before is None or after is None or trial.spec["precision"]["scheme"] != "ptq":
        return None
    if before.ap is None or after.ap is None or before.epochs != after.epochs:
        return None
    if of_a_part(before.protocol) or of_a_part(after.protocol):
        return None
    lost = before.ap - after.ap
    return lost if lost >= WORTH_QAT else None
