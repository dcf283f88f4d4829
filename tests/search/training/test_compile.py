"""`torch.compile`: refused with a reason where it is of no use, and never the end of a run."""

from functools import partial
from pathlib import Path

import pytest
import torch

from evaluators.data import DetectionData
from search.training import TrainingOptions, load_detector, numerics, train
from search.training.weights import same_weights
from yolov6space.candidate import Candidate


def test_the_reason_is_the_first_thing_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "NVIDIA GPU" in numerics.compile_refusal()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    assert "7.0" in numerics.compile_refusal()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    monkeypatch.setattr(numerics.importlib.util, "find_spec", lambda name: None)
    assert "triton" in numerics.compile_refusal()
    monkeypatch.setattr(numerics.importlib.util, "find_spec", lambda name: object())
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    assert "C compiler" in numerics.compile_refusal()
    monkeypatch.setenv("CC", "tcc")
    assert numerics.compile_refusal() == ""


def test_what_does_not_compile_is_trained_as_it_is(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = []

    def broken(graph, inputs):
        graphs.append(graph)
        raise RuntimeError("no compiler")

    told = {"epochs": 1, "image_size": 64, "batch": 4, "amp": "off"}
    plain = train(tiny, rectangles, TrainingOptions(**told), folder=tmp_path / "plain")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    options = TrainingOptions(**told, compile_network=True)
    fallen_back = train(tiny, rectangles, options, folder=tmp_path / "compiled")
    assert graphs
    assert same_weights(*(load_detector(tiny.model, 2, run.weights) for run in (plain, fallen_back)))
