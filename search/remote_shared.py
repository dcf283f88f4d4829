"""The process that holds the shared network: one actor in Ray, made by the driver, which alone asks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from foundation.cli import is_disk_full
from foundation.errors import UserError
from search.causes import NO_SPACE
from search.roles import JudgementError
from search.workers import one_line

if TYPE_CHECKING:
    from search.shared_stages import SharedStage

LOOK_TIMEOUT_S = 600.0
POLL_S = 1.0
_WATCHING = "watching"


class RemoteShared:
    """A long-lived process: imports and weights are paid for once, and crashes stay there.

    It takes no CPU of Ray's count, as it trains before all others and looks are short; on machines with GPUs it uses
    the first one, beside whoever trains there.
    """

    def __init__(self, stage: SharedStage) -> None:
        self._stage = stage
        self._actor: Any = None

    def seconds_per_image(self) -> float:
        """See `SharedStage.seconds_per_image`. Raises JudgementError, UserError."""
        return float(self._answer(self._started().seconds_per_image.remote(), LOOK_TIMEOUT_S))

    def train(
        self, on_progress: Callable[[dict[str, Any]], None], stopped: Callable[[], bool]
    ) -> dict[str, Any] | None:
        """See `SharedStage.train`; None when `stopped()` ended it, and a checkpoint is left.

        Raises:
            JudgementError: it gave no network; the message is one line.
            UserError: the data or the machine.
        """
        import ray

        asked = self._started().train.remote()
        while not ray.wait([asked], timeout=POLL_S)[0]:
            if stopped():
                self.close()
                return None
            watching = self._actor.progress.options(concurrency_group=_WATCHING).remote()
            if ray.wait([watching], timeout=POLL_S)[0]:
                on_progress(self._answer(watching))
        found: dict[str, Any] = self._answer(asked)
        return found

    def __call__(self, candidate: dict[str, Any]) -> dict[str, Any] | None:
        """See `SharedStage.look`. Raises JudgementError, UserError."""
        found: dict[str, Any] | None = self._answer(self._started().look.remote(candidate), LOOK_TIMEOUT_S)
        return found

    def close(self) -> None:
        """End the process."""
        import ray

        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None

    def _started(self) -> Any:
        import ray

        from search.shared_stages import SharedActor

        if self._actor is None:
            actor = ray.remote(concurrency_groups={_WATCHING: 1})(SharedActor)
            self._actor = actor.options(num_cpus=0, max_restarts=0).remote(self._stage)
        return self._actor

    def _answer(self, asked: Any, timeout: float | None = None) -> Any:
        import ray
        from ray.exceptions import GetTimeoutError, RayError, RayTaskError

        try:
            return ray.get(asked, timeout=timeout)
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            if is_disk_full(cause):
                raise UserError(NO_SPACE) from None
            if isinstance(cause, UserError):
                raise cause from None
            raise JudgementError(one_line(cause)) from error
        except RayError as error:
            self.close()
            hung = isinstance(error, GetTimeoutError)
            cause = "hung" if hung else "died (out of memory, perhaps)"
            raise JudgementError(f"the process of the shared network {cause}") from error
