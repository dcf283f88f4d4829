"""Several processes train what one would, up to the rounding of sums, and end together."""

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from evaluators.data import DetectionData
from foundation.errors import WorkFailedError
from search.training import TrainedNetwork, TrainingOptions, train
from search.training.assigners import GroundTruth
from search.training.checkpoint import FILE
from search.training.data.loader import Batch
from search.training.estimate import random_batch
from search.training.joint_norm import with_joint_norms
from search.training.losses import DetectionLoss, Loss
from search.training.ranks import ALONE, Ranks, is_lost_peer
from search.training.schedule import Plan
from search.training.step import Stepper
from tests.search.training.together import together
from yolov6space.candidate import Candidate, ModelSpec
from yolov6space.networks import Detector, build

CLASSES, SIZE, BATCH = 2, 64, 5  # shares of two and three pictures


def close(first: dict[str, Tensor], second: dict[str, Tensor], tolerance: float = 1e-4) -> bool:
    assert first.keys() == second.keys()
    return all(torch.allclose(first[name], second[name], atol=tolerance, rtol=tolerance) for name in first)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def share(batch: Batch, places: range) -> Batch:
    mine = (batch.truth.image >= places.start) & (batch.truth.image < places.stop)
    truth = batch.truth
    return Batch(
        batch.images[places.start : places.stop],
        GroundTruth(truth.boxes[mine], truth.labels[mine], truth.image[mine] - places.start),
    )


def a_batch(seed: int, *, empty: int = 0) -> Batch:
    """Random; the first `empty` pictures show nothing."""
    batch = random_batch(CLASSES, BATCH, SIZE, torch.Generator().manual_seed(seed))
    kept = batch.truth.image >= empty
    return Batch(batch.images, GroundTruth(*(part[kept] for part in vars_of(batch.truth))))


def vars_of(truth: GroundTruth) -> tuple[Tensor, Tensor, Tensor]:
    return truth.boxes, truth.labels, truth.image


Steps = tuple[dict[str, Tensor], dict[str, Tensor], list[dict[str, float]]]


def stepper(ranks: Ranks, candidate: Candidate, amp: str = "off") -> Stepper:
    torch.manual_seed(0)
    options = TrainingOptions(epochs=1, image_size=SIZE, batch=BATCH, lr=0.01)
    return Stepper.of(
        build(candidate.model, CLASSES),
        candidate.recipe,
        Plan.of(candidate.model, options, images=50),
        image_size=SIZE,
        amp=amp,
        device=torch.device("cpu"),
        ranks=ranks,
    )


def stepped(ranks: Ranks, candidate: Candidate) -> dict[str, Steps]:
    """By number format: weights, their average, and the losses; rank 0 of two has nothing to find in one step."""
    torch.set_num_threads(1)
    found = {}
    for amp in ("off", "bf16"):
        made = stepper(ranks, candidate, amp)
        batches = [a_batch(0), a_batch(1, empty=2)]
        parts = [made.step(share(batch, ranks.places(BATCH)), 5 + k) for k, batch in enumerate(batches)]
        found[amp] = made.detector.state_dict(), made.average.module.state_dict(), parts
    return found


def test_steps_of_two_processes_are_those_of_one(tiny: Candidate, tmp_path: Path) -> None:
    alone = stepped(ALONE, tiny)
    pair = together(2, tmp_path / "meeting", stepped, tiny)
    for amp, tolerance in (("off", 1e-4), ("bf16", 3e-2)):
        first, second = (rank[amp] for rank in pair)
        assert same(first[0], second[0]) and same(first[1], second[1]) and first[2] == second[2]
        assert close(first[0], alone[amp][0], tolerance) and close(first[1], alone[amp][1], tolerance)
        for ours, theirs in zip(first[2], alone[amp][2], strict=True):
            assert ours == pytest.approx(theirs, rel=tolerance)


def normalised(ranks: Ranks, pictures: Tensor) -> tuple[Tensor, ...]:
    """Output, gradient and statistics of a BatchNorm; the loss adds up over the ranks."""
    norm: nn.Module = nn.BatchNorm2d(3, eps=1e-3, momentum=0.03)
    nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
    if ranks.count > 1:
        norm = with_joint_norms(nn.Sequential(norm))[0]
    places = ranks.places(len(pictures))
    mine = pictures[places.start : places.stop].clone().requires_grad_()
    output = norm(mine)
    output.pow(3).sum().backward()
    weight_gradient = ranks.total(norm.weight.grad)
    eager = norm.eval()(mine)
    return tuple(
        each.detach()
        for each in (output, mine.grad, eager, weight_gradient, norm.running_mean, norm.running_var)
    )


def test_batch_norm_is_that_of_all_pictures(tmp_path: Path) -> None:
    pictures = 100 + 3 * torch.randn(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    alone = normalised(ALONE, pictures)
    ranks = together(3, tmp_path / "meeting", normalised, pictures)
    for place in range(3):  # those with a row for each picture
        torch.testing.assert_close(
            torch.cat([rank[place] for rank in ranks]), alone[place], atol=2e-4, rtol=1e-3
        )
    for rank in ranks:
        for ours, theirs in zip(rank[3:], alone[3:], strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)


def told(**changes) -> TrainingOptions:
    common = {"epochs": 2, "image_size": SIZE, "batch": 4, "amp": "off", "lr": 0.01, "checkpoint_seconds": 0}
    return TrainingOptions(**{**common, "judge_epochs": 1, **changes})


def trained(ranks: Ranks, candidate: Candidate, data: DetectionData, folder: Path) -> list[int]:
    """Steps that were reported to this rank; what a kill on the way would have left is kept beside the folder."""
    seen: list[int] = []

    def judge(detector: Detector) -> float:
        shutil.copy(folder / FILE, folder.with_suffix(".killed"))
        return 0.5

    torch.set_num_threads(1)
    train(
        candidate,
        data,
        told(),
        folder=folder,
        on_progress=lambda now: seen.append(now.step),
        judge=judge,
        ranks=ranks,
    )
    return seen


@pytest.mark.parametrize(("conv", "count"), [("repvgg", 3), ("repopt", 2)])
def test_a_run_of_several_ends_as_one_and_goes_on_after_a_kill(
    tiny_model: ModelSpec, rectangles: DetectionData, tmp_path: Path, conv: str, count: int
) -> None:
    candidate = Candidate(model=dataclasses.replace(tiny_model, conv=conv))

    def weights(folder: str) -> dict[str, Tensor]:
        return load_file(tmp_path / folder / "weights.safetensors")

    def several(folder: str) -> list[list[int]]:
        return together(count, tmp_path / f"at {folder}", trained, candidate, rectangles, tmp_path / folder)

    trained(ALONE, candidate, rectangles, tmp_path / "alone")
    seen, *unseen = several("several")
    assert seen[-1] == 5 and not any(unseen)
    assert close(weights("several"), weights("alone"), 2e-3)

    for folder in ("again", "one"):
        shutil.copytree(tmp_path / "several", tmp_path / folder)
        (tmp_path / folder / "weights.safetensors").unlink()
        shutil.copy(tmp_path / "several.killed", tmp_path / folder / FILE)
    several("again")
    assert same(weights("again"), weights("several"))
    seen = trained(ALONE, candidate, rectangles, tmp_path / "one")
    assert seen[0] >= 3 and seen[-1] == 5  # one process goes on where several were
    assert close(weights("one"), weights("alone"), 2e-3)


def broken_once(ranks: Ranks, candidate: Candidate, data: DetectionData, folder: Path) -> TrainedNetwork:
    """In the fourth step the loss of the last rank alone is no number."""
    honest, steps = DetectionLoss.__call__, 0

    def call(self: DetectionLoss, *arguments: Any) -> Loss:
        nonlocal steps
        steps += 1
        loss = honest(self, *arguments)
        breaks = steps == 4 and ranks.rank == ranks.count - 1
        return dataclasses.replace(loss, box=loss.box * torch.nan) if breaks else loss

    DetectionLoss.__call__ = call  # in a process of its own
    torch.set_num_threads(1)
    return train(candidate, data, told(judge_epochs=None), folder=folder, ranks=ranks)


def test_all_go_back_when_one_of_them_diverges(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    leads, follows = together(2, tmp_path / "meeting", broken_once, tiny, rectangles, tmp_path / "run")
    assert "not finite at step 4" in leads.retry and leads.retry == follows.retry
    assert leads.losses == follows.losses and all(map(math.isfinite, leads.losses.values()))


def test_shares_are_nearly_equal_and_whole() -> None:
    assert [list(Ranks(rank, 3).places(5)) for rank in range(3)] == [[0], [1, 2], [3, 4]]


def test_what_a_rank_did_itself_is_no_lost_peer() -> None:
    assert not is_lost_peer(WorkFailedError("no anchor"))
    assert is_lost_peer(RuntimeError("[pair.cc:547] Connection closed by peer [192.0.2.2]:1"))
