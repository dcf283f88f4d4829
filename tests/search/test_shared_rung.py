"""How the rung of shared weights is planned, kept, and left out where it is of no use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from foundation.errors import UserError
from search import shared_rung
from search.budget import TimePlan, TrainingCost
from search.options import SearchOptions
from search.roles import JudgementError, SharedRung
from search.shared_rung import BEGUN, TRAINED, SharedTraining
from search.shared_stages import SharedStage
from search.stages import Bench
from storage import Repository
from tests.search.conducting import conductor
from tests.search.fakes import FakeJudge, SilentView, latency_ms
from yolov6space.candidate import Candidate, Precision
from yolov6space.space import Space
from yolov6space.variants import get


class Remote:
    """Trains in no time; notes what it was made for."""

    made: ClassVar[list[SharedStage]] = []
    look_seconds = 1.0
    seconds = 0.05
    problem: JudgementError | None = None
    stops = False
    closed = 0

    def __init__(self, stage: SharedStage) -> None:
        self.made.append(stage)

    def seconds_per_image(self) -> float:
        return self.seconds

    def train(self, on_progress: Callable[..., None], stopped: Callable[[], bool]) -> dict[str, Any] | None:
        if self.problem is not None:
            raise self.problem
        if self.stops:
            return None
        weights = Path(self.made[-1].folder) / "weights.safetensors"
        weights.parent.mkdir(parents=True, exist_ok=True)
        weights.write_bytes(b"")
        on_progress({"step": 5, "steps": 10, "epoch": 1, "epochs": 2, "loss": 1.0, "images_per_second": 9.0})
        return {"seconds": 60.0, "look_seconds": self.look_seconds, "losses": {}, "weights": str(weights)}

    def __call__(self, candidate: dict[str, Any]) -> None:
        return None

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> type[Remote]:
    fresh = type("Fresh", (Remote,), {"made": []})
    monkeypatch.setattr(shared_rung, "RemoteShared", fresh)
    return fresh


def prepared(
    repository: Repository, bench: Bench, *, per_gflop_s: float = 0.3
) -> tuple[SharedRung | None, SilentView]:
    one, view = conductor(repository), SilentView()
    plan = TimePlan(budget_s=None, cost=TrainingCost(0.0, per_gflop_s))
    training = SharedTraining(repository, one.study, Space.default(), bench, plan, view, lambda: False)
    return training.rung(600.0, one.policy, FakeJudge(), None), view


def kinds(repository: Repository) -> list[str]:
    return [event.kind for event in repository.events(1, kinds=[BEGUN, TRAINED])]


def test_the_dearest_architecture_is_what_the_limit_allows(
    repository: Repository, bench: Bench, remote: type[Remote]
) -> None:
    rung, _ = prepared(repository, bench)
    assert rung is not None and 0.01 <= rung.cost <= 0.25
    timed, stage = remote.made
    int8 = latency_ms(Candidate(model=get("YOLOv6-N").model, precision=Precision.of("int8")))
    assert stage.max_gflops == pytest.approx(1.5 * 2.8 * 8.8 / int8, rel=0.05)
    assert timed.max_gflops == stage.max_gflops and stage.epochs == 600 / (0.05 * 100)  # seconds, images


def test_a_later_run_finds_the_network_again(
    repository: Repository, bench: Bench, remote: type[Remote]
) -> None:
    first, _ = prepared(repository, bench)
    remote.problem = JudgementError("must not be trained again")
    second, _ = prepared(repository, bench, per_gflop_s=0.9)  # the machine is slower now
    assert first is not None and second is not None and first.cost == second.cost
    assert remote.made[1] == remote.made[2] and kinds(repository) == [BEGUN, TRAINED]


def test_a_stopped_training_goes_on_with_what_was_decided(
    repository: Repository, bench: Bench, remote: type[Remote]
) -> None:
    remote.stops = True
    assert prepared(repository, bench)[0] is None
    remote.stops = False
    assert prepared(repository, bench, per_gflop_s=0.5)[0] is not None
    assert remote.made[1] == remote.made[2] and kinds(repository) == [BEGUN, TRAINED]


def test_without_a_network_the_search_goes_on_and_says_why(
    repository: Repository, bench: Bench, remote: type[Remote]
) -> None:
    remote.problem = JudgementError("the loss runs away")
    rung, view = prepared(repository, bench)
    assert rung is None and remote.closed == 2  # the one that timed a few steps, too
    assert any("the loss runs away; the search goes on without it" in line for line in view.events)


def test_looks_as_long_as_trainings_are_of_no_use(
    repository: Repository, bench: Bench, remote: type[Remote]
) -> None:
    rung, view = prepared(repository, bench, per_gflop_s=0.001)
    assert rung is None and not remote.made  # before anything is trained
    assert any("of the time of an exploring training" in line for line in view.events)
    remote.look_seconds = 1000.0
    assert prepared(repository, bench)[0] is None and remote.closed == 2


def test_less_time_than_an_epoch_takes_is_said(
    repository: Repository, bench: Bench, remote: type[Remote]
) -> None:
    remote.seconds = 7.0
    rung, view = prepared(repository, bench)
    assert rung is None and kinds(repository) == []
    assert any("one epoch of it takes about 700 s" in line for line in view.events)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"sampler": "tpe"}, "only --sampler latency-aware"),
        ({"time_budget_s": 600.0, "shared_training_s": 300.0}, "leaves no time to explore"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SearchOptions(**{"target_ms": 5.0, "shared_training_s": 60.0, **asked})
