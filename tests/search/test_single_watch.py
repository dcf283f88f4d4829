"""What a training leaves to be seen: the log, and TensorBoard files read back by TensorBoard itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from foundation.errors import UserError
from search import single_watch
from search.single_watch import LOG_FILE, Watch, require_tensorboard
from search.training import TrainingProgress


def at(step: int, **changes) -> TrainingProgress:
    told = {"epoch": 1, "epochs": 1, "step": step, "steps": 9, "loss": float(step), "images_per_second": 2.0}
    return TrainingProgress(**{**told, "seconds_left": 1.0, "parts": {"class": 0.5}, **changes})


@pytest.fixture(autouse=True)
def everything_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_watch, "LOG_EVERY_S", 0.0)


def test_the_log_has_a_line_per_report(tmp_path: Path) -> None:
    with Watch(tmp_path) as watch:
        watch(at(1), "teacher")
        watch(at(2, ap=0.25))
    first, second = (json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines())
    assert (first["phase"], first["step"], second["ap"]) == ("teacher", 1, 0.25)
    assert not (tmp_path / "tensorboard").exists()


def test_tensorboard_reads_the_curves_and_forgets_what_a_run_went_back_over(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Watch(tmp_path, tensorboard=True) as watch:
        for step in (1, 2, 3):
            watch(at(step), "teacher")
        for step in (1, 2, 3):
            watch(at(step))
        for step in (2, 3):  # back to a checkpoint
            watch(at(step, loss=10.0 * step, ap=0.5))
        watch.picture("found", np.zeros((8, 8, 3), np.uint8), 3)

    def curve(folder: Path, name: str) -> list[tuple[int, float]]:
        read = EventAccumulator(str(folder))
        read.Reload()
        return [(event.step, event.value) for event in read.Scalars(name)]

    assert curve(tmp_path / "tensorboard" / "teacher", "loss/total") == [(1, 1), (2, 2), (3, 3)]
    assert curve(tmp_path / "tensorboard", "loss/total") == [(1, 1), (2, 20), (3, 30)]
    assert curve(tmp_path / "tensorboard", "val AP") == [(2, 0.5), (3, 0.5)]
    assert curve(tmp_path / "tensorboard", "loss/class") == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_without_the_package_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install tensorboard"):
        require_tensorboard()
