"""QAT outside a search: from one artefact to another, once, and refused."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from evaluators.artefact import Artefact, build_artefact, load_artefact, untrained_artefact
from evaluators.data import DetectionData
from foundation.errors import UserError
from search import fine_tuning
from search.fine_tuning import AskedQat, run_qat
from search.qat import main
from yolov6space.candidate import Candidate, Precision
from yolov6space.networks import build, realistic_statistics

PARTIAL_PTQ = Precision(kind="int8", scheme="ptq", float_layers=2, metric="cosine")


def source(data: DetectionData) -> str:
    return str(data.split("train").annotations.parent.parent)


@pytest.fixture
def network(tiny: Candidate, rectangles: DetectionData, tmp_path: Path) -> Artefact:
    return build_artefact(
        tiny,
        realistic_statistics(build(tiny.model, 2)),
        class_names=rectangles.class_names,
        image_size=64,
        folder=tmp_path / "network",
    )


def asked(network: Artefact, data: DetectionData, out: Path, **changes) -> AskedQat:
    told = {"epochs": 1, "batch": 4, "threads": 1, "distillation": "full", **changes}
    return AskedQat(network=network.folder, data=source(data), out=out, **told)


def test_a_network_is_fine_tuned_judged_and_written_once(
    network: Artefact, rectangles: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fine_tuning, "_deploy", killed)
        with pytest.raises(KeyboardInterrupt):
            run_qat(asked(network, rectangles, out, float_layers=2))
    monkeypatch.setattr(fine_tuning, "_tune", None)  # nothing is trained twice
    result = run_qat(asked(network, rectangles, out, float_layers=2))
    built = load_artefact(out / "network")
    assert built.hash == result["artefact"]["hash"] != network.hash
    assert built.candidate.precision == Precision(kind="int8", scheme="qat", float_layers=2, metric="mse")
    assert len(built.meta.float_layers) == len(result["float_layers"]) == 2
    assert built.weights.read_bytes() == network.weights.read_bytes()
    assert result["training"]["losses"]["features"] > 0 < result["training"]["losses"]["distillation"]
    protocol = result["deployed"]["protocol"]
    assert protocol["precision"] == "int8 qat +2f" and protocol["qat_distillation"] == "full"
    assert (protocol["qat_epochs"], protocol["qat_batch"], protocol["qat_lr"]) == (1, 4, 1e-4)
    assert not any(name.startswith("qat") for name in result["trained"]["protocol"])
    json.dumps(result, allow_nan=False)
    assert json.loads((out / "log.jsonl").read_text().splitlines()[-1])["phase"] == "qat"

    monkeypatch.setattr(fine_tuning, "_run", None)
    told = [str(network.folder), "--data", source(rectangles), "--out", str(out), "--epochs", "1", "--json"]
    more = ["--batch", "4", "--distillation", "full", "--float-layers", "2"]
    assert json.loads(CliRunner().invoke(main, [*told, *more]).stdout) == result
    with pytest.raises(UserError, match=r"another epochs .1, now 2"):
        run_qat(asked(network, rectangles, out, float_layers=2, epochs=2))


def test_layers_in_float_are_those_asked_for_else_those_the_network_has(tmp_path: Path) -> None:
    def precision(before: Precision, **changes) -> Precision:
        told = AskedQat(network=tmp_path, data="", out=tmp_path, distillation="none", **changes)
        return told.precision(before)

    full = Precision(kind="int8", scheme="qat", float_layers=0)
    assert precision(Precision()) == full == precision(PARTIAL_PTQ, float_layers=0)
    assert precision(PARTIAL_PTQ) == dataclasses.replace(PARTIAL_PTQ, scheme="qat")
    assert precision(PARTIAL_PTQ, float_layers=4, metric="snr").label == "int8 qat +4f"
    with pytest.raises(UserError, match="--float-layers"):
        precision(Precision(), metric="mse")


def test_what_cannot_be_fine_tuned_is_refused_before_anything_is_written(
    network: Artefact, tiny: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    untrained = untrained_artefact(tiny, num_classes=2, image_size=64, folder=tmp_path / "untrained")
    with pytest.raises(UserError, match="weights are random"):
        run_qat(asked(untrained, rectangles, out))
    with pytest.raises(UserError, match="other classes than this data"):
        run_qat(dataclasses.replace(asked(network, rectangles, out), data="bundled"))
    with pytest.raises(UserError, match="learning rate is 20"):
        run_qat(asked(network, rectangles, out, lr=20))
    network.weights.write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"weights\.safetensors is damaged"):
        run_qat(asked(network, rectangles, out))
    assert not out.exists()


def test_weights_that_are_no_numbers_are_refused(
    tiny: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    detector = realistic_statistics(build(tiny.model, 2))
    with torch.no_grad():
        detector.get_submodule("head.level8.cls_pred").bias[0] = float("nan")
    folder = tmp_path / "nan"
    nan = build_artefact(tiny, detector, class_names=rectangles.class_names, image_size=64, folder=folder)
    with pytest.raises(UserError, match=r"1 of \d+ tensors .*head\.level8\.cls_pred\.bias; train"):
        run_qat(asked(nan, rectangles, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_wrong_folder_is_one_line_and_exit_2(tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "search.qat", str(tmp_path / "no"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert "there is no such folder" in done.stderr
