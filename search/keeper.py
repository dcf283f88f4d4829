"""Renews the leases of a driver in the background, so that no long training or slow report lets them end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from foundation.errors import UserError
from storage import LeaseLostError, Repository
from storage.study_store import LEASE_SECONDS


@dataclass(slots=True)
class Keeper:
    """What became of the leases: `problem` says why they could not be kept, None while they are."""

    problem: UserError | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def lost(self) -> bool:
        """Whether the study is no longer this driver's."""
        return self.problem is not None


@contextlib.contextmanager
def kept_leases(
    repository: Repository, study_id: int, *, every_s: float = LEASE_SECONDS / 4
) -> Iterator[Keeper]:
    """Hold the study and this process's running trials for as long as the block runs."""
    keeper = Keeper()

    def keep() -> None:
        while not keeper._stop.wait(every_s):
            try:
                repository.renew_study(study_id)
            except LeaseLostError as error:
                keeper.problem = UserError(
                    f"another program took over this study: {error}; end that one, or use another --study"
                )
            except UserError as error:  # away for longer than the repository waits
                keeper.problem = error
            except Exception as error:  # noqa: BLE001 - leases that end unseen would give the trials to others
                keeper.problem = UserError(
                    f"cannot keep this study's leases: {type(error).__name__}: {error}"
                )
            if keeper.lost:
                return

    thread = threading.Thread(target=keep, name="leases", daemon=True)
    thread.start()
    try:
        yield keeper
    finally:
        keeper._stop.set()
        thread.join(timeout=5)
