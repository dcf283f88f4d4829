"""Refusals of the repository that a program may want to handle; all else is a UserError."""


class DuplicateCandidateError(Exception):
    """The study already has a trial of this candidate; nothing was added."""

    def __init__(self, candidate_key: str, trial_id: int, number: int) -> None:
        super().__init__(f"candidate {candidate_key} is already trial {number} of this study")
        self.candidate_key = candidate_key
        self.trial_id = trial_id
        self.number = number


class LeaseLostError(Exception):
    """The trial is not (or no longer) held by this owner, so what it reports is not taken."""


class RecordRefusedError(ValueError):
    """A constraint of the database was broken; the message names it. A mistake of the caller."""
