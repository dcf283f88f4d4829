"""Who measures: one long-lived process per device, in Ray, for the driver and all workers together."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli import is_disk_full
from foundation.errors import UserError
from search.causes import NO_SPACE
from search.roles import JudgementError
from search.workers import device_resource, one_line

if TYPE_CHECKING:
    from search.budget import TrainingCost
    from search.stages import Bench

JUDGEMENT_TIMEOUT_S = 300.0  # of one question, its turn awaited
_WATCHING = "watching"


class RemoteJudge:
    """Measurements in a long-lived actor, one per device for the driver and all workers together.

    It holds the device's resource and does one thing at a time, pays heavy imports once, and crashes stay there. The
    driver makes the actor, workers find it by its name; whoever finds it dead makes another.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._actor: Any = None

    def __call__(self, candidate: dict[str, Any]) -> dict[str, Any]:
        """Measure the untrained candidate. Raises JudgementError with a one-line reason."""
        return self._ask("latency", candidate)

    def compiles(self, candidate: dict[str, Any]) -> bool:
        """Let NVIDIA's compiler build the untrained candidate. Raises JudgementError with its reason."""
        self._ask("compiles", candidate)
        return True

    def deployed(self, artefact: Path) -> dict[str, Any]:
        """Measure an artefact's folder. Raises JudgementError with a one-line reason."""
        return self._ask("deployed", str(artefact))

    def training_cost(self) -> tuple[TrainingCost, int]:
        """Training cost of this machine and the best number of threads (see `stages.training_cost`)."""
        return self._ask("training_cost")

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Ask once more where the process died: it may have been at somebody else's question."""
        from ray.exceptions import RayActorError

        try:
            return self._ask_once(method, *arguments)
        except JudgementError as error:
            if not isinstance(error.__cause__, RayActorError):
                raise
            return self._ask_once(method, *arguments)

    def _ask_once(self, method: str, *arguments: Any) -> Any:
        import ray
        from ray.exceptions import GetTimeoutError, RayError, RayTaskError

        if self._actor is None:
            options = {
                "num_cpus": 0,
                "max_restarts": 0,
                "resources": {device_resource(self._bench.device): 1},
                "name": f"measuring on {self._bench.device}",
                "get_if_exists": True,
                "scheduling_strategy": "DEFAULT",  # a worker's own share does not have the device
            }
            actor = ray.remote(concurrency_groups={_WATCHING: 1})(_Judge)
            self._actor = actor.options(**options).remote(self._bench)
        try:
            return self._answer(self._actor.ask.remote(method, *arguments))
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            if is_disk_full(cause):
                raise UserError(NO_SPACE) from None
            if isinstance(cause, UserError):
                raise cause from None
            raise JudgementError(one_line(cause)) from error
        except RayError as error:
            ray.kill(self._actor)
            self._actor = None
            cause = (
                "hung"
                if isinstance(error, GetTimeoutError)
                else "died (out of memory, or a vendor library crashed)"
            )
            raise JudgementError(f"the measuring process {cause}") from error

    def _answer(self, asked: Any) -> Any:
        """Wait for as long as it takes until it is our turn, and then for the time of one question."""
        import ray
        from ray.exceptions import GetTimeoutError

        while True:
            try:
                return ray.get(asked, timeout=JUDGEMENT_TIMEOUT_S)
            except GetTimeoutError:
                busy = self._actor.busy_seconds.options(concurrency_group=_WATCHING).remote()
                if ray.get(busy, timeout=JUDGEMENT_TIMEOUT_S) >= JUDGEMENT_TIMEOUT_S:
                    raise


class _Judge:
    """Runs in its own process: one question at a time, and beside it how long that has taken."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._since: float | None = None

    def ask(self, method: str, *arguments: Any) -> Any:
        """Answer one question."""
        self._since = time.monotonic()
        try:
            return getattr(self, method)(*arguments)
        finally:
            self._since = None

    def busy_seconds(self) -> float:
        """How long the present question has taken so far."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def latency(self, candidate: dict[str, Any]) -> dict[str, Any]:
        from search.stages import judge_latency
        from yolov6space.candidate import Candidate

        return judge_latency(Candidate.from_dict(candidate), self._bench)

    def compiles(self, candidate: dict[str, Any]) -> None:
        from search.compile_gate import compile_untrained
        from yolov6space.candidate import Candidate

        compile_untrained(Candidate.from_dict(candidate), self._bench)

    def deployed(self, folder: str) -> dict[str, Any]:
        from evaluators.artefact import load_artefact
        from search.stages import measure_here

        return measure_here(load_artefact(folder), self._bench)

    def training_cost(self) -> tuple[TrainingCost, int]:
        from search.stages import training_cost

        return training_cost(self._bench)
