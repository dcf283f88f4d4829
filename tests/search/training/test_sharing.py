"""The shared network: it learns, goes on after a kill, and its weights are worth something to a candidate."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from evaluators.data import DetectionData
from foundation.errors import WorkFailedError
from search.training.sharing import JUDGED_IMAGES, SharedNetwork, train_shared
from tests.search.training.kills import Killed, kill_after
from tests.search.training.short_runs import options
from yolov6space.sharing import Sharing
from yolov6space.space import Space


@pytest.fixture(scope="module")
def sharing() -> Sharing:
    space = Space.from_dict(space_dict())
    return Sharing(space, 2, 64, 0.08, 0)


def space_dict() -> dict[str, object]:
    choices = {dimension.name: list(dimension.choices) for dimension in Space.default().dimensions}
    narrow = {
        "width": [0.125],
        "depth": [0.1],
        "neck.depth": [0.25],
        "csp_coefficient": ["1/2"],
        "conv": ["plain"],
    }
    return {"name": "small", "dimensions": {**choices, **narrow}}


def test_it_learns_and_reports(sharing: Sharing, rectangles: DetectionData, tmp_path: Path) -> None:
    seen = []
    trained = train_shared(sharing, rectangles, options(epochs=24), folder=tmp_path, on_progress=seen.append)
    assert trained.steps == 60 and seen[-1].step == 60
    assert sum(trained.losses.values()) < 0.8 * seen[0].loss


def test_a_killed_training_ends_with_the_weights_of_an_unbroken_one(
    sharing: Sharing, rectangles: DetectionData, tmp_path: Path
) -> None:
    told = options(epochs=2, checkpoint_seconds=0)
    whole = train_shared(sharing, rectangles, told, folder=tmp_path / "whole")
    with pytest.raises(Killed):
        train_shared(sharing, rectangles, told, folder=tmp_path / "broken", device_guard=kill_after(3))
    broken = train_shared(sharing, rectangles, told, folder=tmp_path / "broken")
    first, second = load_file(whole.weights), load_file(broken.weights)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_candidate_inherits_weights_and_has_statistics_of_its_own(
    sharing: Sharing, rectangles: DetectionData, tmp_path: Path
) -> None:
    told = options(epochs=2)
    trained = train_shared(sharing, rectangles, told, folder=tmp_path)
    shared = SharedNetwork(sharing, trained.weights, rectangles, told)
    one, other = sharing.models[:2]
    assert shared.covers(one)
    torch.manual_seed(5)
    detector, again = shared.detector(one), shared.detector(one)
    norm = detector.backbone.stage2.down.bn
    assert not detector.training and float(norm.running_mean.abs().sum()) > 0
    assert torch.equal(norm.running_mean, again.backbone.stage2.down.bn.running_mean)
    assert shared.detector(other).model == other
    assert len(shared.judged_split()) == min(JUDGED_IMAGES, len(rectangles.split("val")))


def test_a_limit_too_low_for_all_is_said(rectangles: DetectionData, tmp_path: Path, sharing: Sharing) -> None:
    nothing = Sharing(sharing.space, 2, 64, 1e-9, 0)
    with pytest.raises(WorkFailedError, match="no architecture"):
        train_shared(nothing, rectangles, options(), folder=tmp_path)
