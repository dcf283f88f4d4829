"""The process of the shared network, for real: it trains, is stopped, goes on, looks, dies and is made anew."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evaluators.data import DetectionData
from search.remote_shared import RemoteShared
from search.roles import JudgementError
from search.shared_stages import SharedStage
from search.stages import Bench
from search.workers import ray_session
from tests.search.training.test_sharing import space_dict
from yolov6space.space import Space


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with ray_session(None, 1, "cpu"):
        yield


@pytest.fixture
def stage(bench: Bench, rectangles: DetectionData, tmp_path: Path) -> SharedStage:
    data = rectangles.split("train").images[0].path.parents[2]
    return SharedStage(replace(bench, data=str(data)), space_dict(), 0.08, 2, str(tmp_path / "shared"))


def test_it_trains_and_looks_and_a_death_costs_one_look(session: None, stage: SharedStage) -> None:
    import ray

    space = Space.from_dict(space_dict())
    candidate = space.decode({name: choices[0] for name, choices in space.choices.items()})
    remote = RemoteShared(stage)
    assert 0 < remote.seconds_per_image() < 5
    told = remote.train(lambda progress: None, lambda: False)
    assert told is not None and Path(told["weights"]).is_file() and told["look_seconds"] > 0
    first = remote(candidate.to_dict())
    assert first is not None and first["protocol"]["weights"] == "shared" and first["protocol"]["images"] == 4
    assert 0 <= first["figures"]["AP"] <= 1 and first["epochs"] == 2
    ray.kill(remote._actor)
    with pytest.raises(JudgementError, match="the process of the shared network died"):
        remote(candidate.to_dict())
    again = remote(candidate.to_dict())
    assert again is not None and again["figures"] == first["figures"]
    wide = replace(candidate.model, stem_channels=512)
    assert remote(replace(candidate, model=wide).to_dict()) is None
    remote.close()


def test_a_stopped_training_gives_nothing(session: None, stage: SharedStage) -> None:
    remote = RemoteShared(replace(stage, epochs=200))
    assert remote.train(lambda progress: None, lambda: True) is None
    assert not (Path(stage.folder) / "weights.safetensors").exists()


def test_what_cannot_be_trained_is_one_line(session: None, stage: SharedStage) -> None:
    remote = RemoteShared(replace(stage, max_gflops=1e-9))
    with pytest.raises(JudgementError, match="no architecture of the space"):
        remote.train(lambda progress: None, lambda: False)
    remote.close()
