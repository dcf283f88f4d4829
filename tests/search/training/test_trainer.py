"""Whole runs: they learn, repeat exactly, survive kills, and go on from earlier weights."""

import dataclasses
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from evaluators.data import DetectionData
from foundation.errors import UserError
from search.training import (
    Teacher,
    TrainingProgress,
    estimate_seconds_per_image,
    load_detector,
    train,
)
from search.training import trainer as trainer_module
from search.training.checkpoint import FILE
from search.training.step import Stepper
from search.training.weights import same_weights, save_detector
from tests.search.training.kills import Killed, kill_after
from tests.search.training.short_runs import options, run
from yolov6space.candidate import Candidate
from yolov6space.networks import Detector, build


def test_a_checkpoint_outlives_another_number_of_threads(tiny: Candidate, rectangles: DetectionData) -> None:
    def name(**changes: int) -> str:
        return trainer_module._name(tiny, rectangles, options(**changes), None, None)

    assert name(threads=1) == name(threads=2) == name(workers=3) == name(compile_network=True)
    assert name() != name(seed=1)


def test_training_lowers_the_loss_and_reports_as_it_goes(
    tiny: Candidate, rectangles: DetectionData, folder: Path
) -> None:
    seen: list[TrainingProgress] = []
    trained = train(tiny, rectangles, options(epochs=40), folder=folder, on_progress=seen.append)
    assert trained.steps == 100 and trained.images_seen == 400 and trained.weights.parent == folder
    assert seen[-1].step == seen[-1].steps == 100 and seen[-1].seconds_left == 0 and seen[-1].epoch == 40
    assert sum(trained.losses.values()) < 0.8 * seen[0].loss
    assert not (folder / FILE).exists()


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_the_same_run_gives_the_same_weights(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path, amp: str
) -> None:
    first = run(tiny, rectangles, tmp_path / "a", options(amp=amp))
    torch.manual_seed(99)  # whatever the caller did with the global generator
    assert same_weights(first, run(tiny, rectangles, tmp_path / "b", options(amp=amp, workers=2)))
    assert not same_weights(first, run(tiny, rectangles, tmp_path / "c", options(amp=amp, seed=1)))


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path, amp: str
) -> None:
    told = options(amp=amp, checkpoint_seconds=0)
    unbroken = run(tiny, rectangles, tmp_path / "unbroken", told)
    broken = tmp_path / "broken"
    for steps in (3, 1, 4):
        with pytest.raises(Killed):
            train(tiny, rectangles, told, folder=broken, device_guard=kill_after(steps))
    assert (broken / FILE).exists()
    entered = []

    @contextmanager
    def count():
        entered.append(1)
        yield

    assert same_weights(unbroken, run(tiny, rectangles, broken, told, device_guard=count))
    assert len(entered) == 10 - 8 + 10  # and a pass over each batch for the statistics at the end


def test_what_a_kill_in_the_midst_of_a_write_left_is_gone_after_the_next_run(
    tiny: Candidate, rectangles: DetectionData, folder: Path
) -> None:
    folder.mkdir()
    for name in (f".{FILE}.4711", ".weights.safetensors.4711", ".trained.json.4711"):
        (folder / name).touch()
    train(tiny, rectangles, options(epochs=1), folder=folder)
    assert [path.name for path in folder.iterdir()] == ["weights.safetensors"]


def test_a_taught_run_survives_kills_too_and_knows_its_teacher(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    told = options(checkpoint_seconds=0)
    first = train(tiny, rectangles, told, folder=tmp_path / "first").weights
    longer = {"init_weights": first, "teacher": Teacher(tiny.model, first)}
    taught = train(tiny, rectangles, told, folder=tmp_path / "taught", **longer)
    assert 0 < taught.losses["distillation"] < taught.losses["class"]
    plain = run(tiny, rectangles, tmp_path / "plain", told, init_weights=first)
    unbroken = load_detector(tiny.model, 2, taught.weights)
    assert not same_weights(unbroken, plain)
    with pytest.raises(Killed):
        train(tiny, rectangles, told, folder=tmp_path / "broken", device_guard=kill_after(6), **longer)
    assert same_weights(unbroken, run(tiny, rectangles, tmp_path / "broken", told, **longer))
    with pytest.raises(UserError, match="another network"):
        wider = dataclasses.replace(tiny.model, reg_max=8)
        train(tiny, rectangles, told, folder=tmp_path / "x", teacher=Teacher(wider, first))


def test_a_teacher_is_silent_while_the_assigner_warms_up(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(tiny, rectangles, options(), folder=tmp_path / "first").weights
    honest, asked = Stepper.step, []

    def stepped(self: Stepper, batch: object, at: int) -> dict[str, float]:
        parts = honest(self, batch, at)
        asked.append(("distillation" in parts, self.plan.warms_up_assigner(at)))
        return parts

    monkeypatch.setattr(Stepper, "step", stepped)
    seen: list[TrainingProgress] = []
    taught = train(
        tiny,
        rectangles,
        options(),
        folder=tmp_path / "taught",
        teacher=Teacher(tiny.model, first),
        on_progress=seen.append,
    )
    assert asked == [(False, True)] * 3 + [(True, False)] * 7
    assert taught.losses["distillation"] > 0 and seen[-1].parts["distillation"] > 0


def test_a_checkpoint_of_another_run_or_half_a_file_is_not_used(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    told = options(checkpoint_seconds=0)
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        train(
            tiny, rectangles, options(seed=5, checkpoint_seconds=0), folder=folder, device_guard=kill_after(4)
        )
    fresh = run(tiny, rectangles, tmp_path / "fresh", told)
    assert same_weights(fresh, run(tiny, rectangles, folder, told))
    with pytest.raises(Killed):
        train(tiny, rectangles, told, folder=folder, device_guard=kill_after(4))
    whole = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(whole[: len(whole) // 2])
    assert same_weights(fresh, run(tiny, rectangles, folder, told))


def test_training_goes_on_from_earlier_weights(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    first = train(tiny, rectangles, options(epochs=30), folder=tmp_path / "first")
    seen: list[TrainingProgress] = []
    train(
        tiny,
        rectangles,
        options(epochs=1),
        folder=tmp_path / "on",
        init_weights=first.weights,
        on_progress=seen.append,
    )
    start = train(tiny, rectangles, options(epochs=1), folder=tmp_path / "scratch")
    assert seen[-1].loss < 0.8 * sum(start.losses.values())


def test_class_predictors_of_another_data_set_are_left_out(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    seven = build(tiny.model, 7)
    with torch.no_grad():
        seven.head.get_submodule("level8").get_submodule("reg_pred").bias.fill_(3.0)
    save_detector(seven, tmp_path / "seven.safetensors")
    continued = run(
        tiny,
        rectangles,
        tmp_path / "run",
        options(epochs=1, lr=1e-6),
        init_weights=tmp_path / "seven.safetensors",
    )
    assert continued.state_dict()["head.level8.reg_pred.bias"].mean() == pytest.approx(3.0, abs=1e-3)


def test_weights_of_another_network_are_refused(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    detector = build(tiny.model, 2)
    save_detector(detector, tmp_path / "w.safetensors")
    assert same_weights(detector, load_detector(tiny.model, 2, tmp_path / "w.safetensors"))
    with pytest.raises(UserError, match=r"cls_pred.* 2.* 3"):
        load_detector(tiny.model, 3, tmp_path / "w.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="cannot be read"):
        train(tiny, rectangles, options(), folder=tmp_path / "r", init_weights=tmp_path / "bad.safetensors")
    with pytest.raises(UserError, match="cannot be read"):
        load_detector(tiny.model, 2, tmp_path / "absent.safetensors")


def test_a_look_at_ap_on_the_way_changes_nothing(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    plain = run(tiny, rectangles, tmp_path / "plain", options())
    seen: list[TrainingProgress] = []

    def judge(detector: Detector) -> float:
        build(tiny.model, 2)  # draws random numbers
        return 0.25

    told = options(judge_epochs=2)
    judged = run(tiny, rectangles, tmp_path / "judged", told, judge=judge, on_progress=seen.append)
    assert same_weights(plain, judged)
    assert [(now.step, now.ap) for now in seen if now.ap is not None] == [(5, 0.25)]
    assert "val AP 0.250" in next(now for now in seen if now.ap).line()
    assert 0 <= seen[-1].waiting <= 1 and seen[-1].memory_mib > 10


def test_settings_of_the_process_are_put_back(
    tiny: Candidate, rectangles: DetectionData, folder: Path
) -> None:
    before = torch.get_num_threads()
    with trainer_module.process_settings(options(threads=before + 1)):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_the_estimate_is_a_speed_and_leaves_the_random_generator_alone(tiny: Candidate) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert 0 < estimate_seconds_per_image(tiny, 2, options()) < 5
    assert torch.equal(torch.rand(1), expected)
