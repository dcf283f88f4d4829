"""The rung of shared weights: how its network is planned, trained once for a study, and found again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search.budget import MAX_EPOCHS, TimePlan
from search.estimates import Estimator
from search.evidence import measurement_from
from search.remote_shared import RemoteShared
from search.roles import Judge, JudgementError, Policy, SharedRung, View
from search.shared_stages import SharedStage
from search.stages import Bench
from storage.records import StudyRecord
from storage.repository import Repository
from storage.states import Rung
from yolov6space.candidate import Candidate, Precision
from yolov6space.cost import cost
from yolov6space.space import Space
from yolov6space.variants import get

BEGUN, TRAINED = "shared network begun", "shared network trained"
REFERENCE = "YOLOv6-N"
MEASURING_S = 8.0  # of an untrained candidate's latency, which comes before a look
SLACK = 1.5  # networks larger than YOLOv6-N do more work in a millisecond
LEAST_COST, MOST_COST = 0.01, 0.25  # of a look, beside an exploring training; a dearer one is not worth it
_PROGRESS_EVERY = 0.1  # of the training


@dataclass(frozen=True, slots=True)
class Planned:
    """What is decided before the shared network is trained, and kept in the event BEGUN.

    Attributes:
        max_gflops: of a forward pass, the dearest architecture that is trained.
        epochs: of its training.
    """

    max_gflops: float
    epochs: int


@dataclass
class SharedTraining:
    """Prepares the rung for one run of the driver."""

    repository: Repository
    study: StudyRecord
    space: Space
    bench: Bench
    plan: TimePlan
    view: View
    stopped: Callable[[], bool]

    def rung(
        self, seconds: float, policy: Policy, judge: Judge, estimator: Estimator | None
    ) -> SharedRung | None:
        """The rung, its network trained here or found; None where a person stopped it or it gave no network.

        Args:
            seconds: that training may take.
            judge, estimator: tell how much work fits into the limit; measured where nothing estimates it.
        """
        try:
            return self._rung(seconds, policy, judge, estimator)
        except JudgementError as error:
            self.view.event(f"shared network: {error}; the search goes on without it")
            return None

    def _rung(
        self, seconds: float, policy: Policy, judge: Judge, estimator: Estimator | None
    ) -> SharedRung | None:
        _require_worth(self._share(0.0, policy))  # said before anything is trained
        planned = self._planned(seconds, policy, judge, estimator)
        remote = self._remote(planned)
        known = self._last(TRAINED)
        try:
            if known is None or not Path(known["weights"]).is_file():
                known = remote.train(self._progress(), self.stopped)
                if known is None:
                    return None
                known["cost"] = self._share(known["look_seconds"], policy)
                text = f"{known['seconds']:.0f} s; a look takes {known['look_seconds']:.1f} s"
                self._note(TRAINED, text, known)
                self.view.event(f"shared network trained: {text}")
            _require_worth(known["cost"])
        except JudgementError:
            remote.close()
            raise
        return SharedRung(known["cost"], remote)

    def _planned(self, seconds: float, policy: Policy, judge: Judge, estimator: Estimator | None) -> Planned:
        """What an earlier run of the study decided, else what fits into the limit and into so many seconds."""
        decided = self._last(BEGUN)
        if decided is not None:
            return Planned(**decided)

        self.view.event("shared network: how much work fits into the limit, and how long does a step take?")

        def latency(candidate: Candidate) -> float:
            estimate = None if estimator is None else estimator(candidate)
            if estimate is not None:
                return estimate.value
            return measurement_from(judge(candidate.to_dict()), Rung.UNTRAINED).median_ms

        reference = get(REFERENCE).model
        work = cost(reference, num_classes=policy.num_classes, image_size=policy.image_size).flops / 1e9
        kinds = [Precision.of(str(kind)) for kind in self.space.choices["precision"]]
        fastest = min(latency(Candidate(model=reference, precision=kind)) for kind in kinds)
        most = SLACK * work * policy.target_ms / fastest
        remote = self._remote(Planned(most, 1))
        try:
            epoch_s = remote.seconds_per_image() * policy.train_images
        finally:
            remote.close()
        epochs = min(MAX_EPOCHS, int(seconds / epoch_s))
        if not epochs:
            raise JudgementError(
                f"one epoch of it takes about {epoch_s:.0f} s; allow it more (--shared-training)"
            )
        planned = Planned(most, epochs)
        self._note(BEGUN, f"{epochs} epochs, up to {most:.3g} GFLOPs", asdict(planned))
        self.view.event(
            f"training a network whose weights candidates of up to {most:.3g} GFLOPs inherit, for {epochs} epochs"
        )
        return planned

    def _remote(self, planned: Planned) -> RemoteShared:
        folder = str(Path(self.bench.folder) / "shared")
        return RemoteShared(
            SharedStage(self.bench, self.space.to_dict(), planned.max_gflops, planned.epochs, folder)
        )

    def _share(self, look_seconds: float, policy: Policy) -> float:
        """A look and the measurement before it, as a share of an exploring training."""
        work = cost(get(REFERENCE).model, num_classes=policy.num_classes, image_size=policy.image_size)
        training = self.plan.seconds_for(work.flops / 1e9, policy.train_images, policy.epochs)
        return round(max((look_seconds + MEASURING_S) / training, LEAST_COST), 3)

    def _progress(self) -> Callable[[dict[str, Any]], None]:
        told = [0.0]

        def tell(now: dict[str, Any]) -> None:
            share = now.get("step", 0) / max(1, now.get("steps", 1))
            if share >= told[0] + _PROGRESS_EVERY:
                told[0] = share
                self.view.event(
                    f"shared network: epoch {now['epoch']}/{now['epochs']}, loss {now['loss']:.2f}, "
                    f"{now['images_per_second']:.0f} images/s"
                )

        return tell

    def _last(self, kind: str) -> dict[str, Any] | None:
        found = self.repository.events(self.study.id, kinds=[kind], limit=1)
        return dict(found[-1].data) if found and found[-1].data is not None else None

    def _note(self, kind: str, message: str, data: dict[str, Any]) -> None:
        self.repository.add_event(self.study.id, kind, message, data=data)


def _require_worth(share: float) -> None:
    """Raises JudgementError where looks take so long that trainings tell more for the time."""
    if share > MOST_COST:
        raise JudgementError(
            f"a look takes {share:.0%} of the time of an exploring training, and is worth it up to {MOST_COST:.0%} "
            "(a larger --time-budget makes trainings longer)"
        )
