"""One training outside a search: the whole way to an artefact, again, and refused."""

import dataclasses
import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from evaluators.artefact import load_artefact, untrained_artefact
from evaluators.atomic_folder import sha256_of
from evaluators.data import DetectionData
from evaluators.latency.engine_process import EngineProcess
from foundation.errors import UserError, WorkFailedError
from search import single, single_pace
from search.single import run_single
from search.single_options import SingleTraining
from search.single_record import RECORD, claimed, trained_before
from search.train import main
from yolov6space.candidate import Candidate, Precision
from yolov6space.networks import build


@pytest.fixture
def spec(tiny: Candidate, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tiny.to_dict()))
    return path


def asked(spec: Path, data: DetectionData, out: Path, **changes) -> SingleTraining:
    told = {"name": None, "precision": None, "epochs": 2, "minutes": None, "init": None, "teacher": None}
    source = str(data.split("train").annotations.parent.parent)
    rest = {"data": source, "out": out, "image_size": 64, "batch": 4, "threads": 1}
    return SingleTraining.of(**{**told, **rest, "spec": spec, **changes})


def test_a_network_is_trained_judged_and_written(
    spec: Path, rectangles: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    told = asked(spec, rectangles, out, precision="int8", judge_every=1, tensorboard=True)
    result = run_single(told)
    artefact = load_artefact(out / "network")
    assert artefact.hash == result["artefact"]["hash"] and artefact.meta.trained
    assert artefact.candidate.precision == Precision(kind="int8", scheme="ptq", float_layers=0)
    assert artefact.meta.class_names == ("red", "blue")
    assert result["trained"]["protocol"]["backend"] == "pytorch"
    assert result["deployed"]["protocol"]["precision"] == "int8 ptq"
    assert 0 <= result["deployed"]["figures"]["AP"] <= 1
    assert result["training"]["images_seen"] == 20
    protocol = result["deployed"]["protocol"]
    assert (protocol["train_batch"], protocol["train_lr"], protocol["epochs"]) == (4, 0.08, 2)
    assert protocol["train_dtype"] in ("float32", "bfloat16") and "init_sha256" not in protocol
    json.dumps(result, allow_nan=False)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == lines[-1]["steps"] == 5
    assert [line["step"] for line in lines if line["ap"] is not None] == [3]  # after the first of two epochs
    assert cv2.imread(str(out / "predictions.jpg")).shape == (2 * 320, 4 * 320, 3)  # four images, each twice

    monkeypatch.setattr(single, "_train", None)  # nothing is trained twice
    assert run_single(asked(spec, rectangles, out, precision="int8")) == result
    source = ["--data", told.data, "--image-size", "64", "--batch", "4", "--precision", "int8"]
    again = ["--spec", str(spec), "--epochs", "2", "--out", str(out), "--json", *source]
    assert json.loads(CliRunner().invoke(main, again).stdout) == result
    with pytest.raises(UserError, match=r"another epochs .2, now 3"):
        run_single(asked(spec, rectangles, out, precision="int8", epochs=3))


def test_an_engine_that_crashes_costs_no_training(
    spec: Path, rectangles: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asked(spec, rectangles, tmp_path / "out", epochs=1)

    def crash(process: EngineProcess, images: object) -> None:
        process._child.send_signal(signal.SIGSEGV)
        EngineProcess._ask(process, "a pass", images, 60.0)

    with monkeypatch.context() as patch:
        patch.setattr(EngineProcess, "infer", crash)
        with pytest.raises(WorkFailedError, match=r"openvino on cpu crashed \(SIGSEGV\)"):
            run_single(told)
    monkeypatch.setattr(single, "_train", None)  # only judged again
    assert run_single(told)["deployed"]["protocol"]["backend"] == "openvino"


def test_a_look_on_the_way_pauses_while_somebody_measures(tiny: Candidate, rectangles: DetectionData) -> None:
    passes = []

    @contextmanager
    def guard() -> Iterator[None]:
        passes.append(1)
        yield

    single._ap(build(tiny.model, 2).eval(), rectangles, 64, guard)
    assert len(passes) == len(rectangles.split("val"))


def test_a_kill_after_training_does_not_repeat_it(
    spec: Path, rectangles: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asked(spec, rectangles, tmp_path / "out", epochs=1)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(single, "_deploy", killed)
        with pytest.raises(KeyboardInterrupt):
            run_single(told)
    monkeypatch.setattr(single, "_train", None)
    assert run_single(told)["training"]["images_seen"] == 8


def test_a_network_teaches_itself_and_another(
    spec: Path, rectangles: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search import training

    taught: list[tuple[str, Path | None]] = []
    seeds: list[int] = []
    honest = training.train

    def spy(*arguments, folder: Path, teacher=None, **named):
        seeds.append(arguments[2].seed)
        taught.append((folder.name, teacher and teacher.weights))
        return honest(*arguments, folder=folder, teacher=teacher, **named)

    monkeypatch.setattr(training, "train", spy)
    out = tmp_path / "out"
    told = asked(spec, rectangles, out, teacher="self", epochs=1)
    result = run_single(told)
    assert told.candidate.recipe.distillation == "self"
    assert taught == [("teacher", None), ("run", out / "teacher" / "weights.safetensors")]
    assert seeds == [0, 1] and result["deployed"]["protocol"]["seed"] == 1  # no second training of the same
    assert result["deployed"]["protocol"]["distillation"] == "self"
    assert result["training"]["losses"]["distillation"] > 0

    network = str(out / "network")
    first = sha256_of(out / "teacher" / "weights.safetensors")
    assert result["deployed"]["protocol"]["teacher_sha256"] == first
    folder = tmp_path / "other"
    other = run_single(asked(spec, rectangles, folder, teacher=network, epochs=1, init=out / "network"))
    told = other["deployed"]["protocol"]
    taught_by = sha256_of(out / "network" / "weights.safetensors")
    assert told["distillation"] == "other"
    assert told["teacher_sha256"] == told["init_sha256"] == taught_by != first
    assert seeds[2] == 0
    assert taught[2] == ("run", out / "network" / "weights.safetensors")
    assert other["training"]["losses"]["distillation"] > 0


def test_minutes_are_shared_with_a_teacher_and_the_search_for_scales(
    spec: Path, rectangles: DetectionData, tmp_path: Path, tiny: Candidate
) -> None:
    repopt = tmp_path / "repopt.json"
    network = dataclasses.replace(tiny, model=dataclasses.replace(tiny.model, conv="repopt"))
    repopt.write_text(json.dumps(network.to_dict()))
    costs = [
        single_pace._teaching_cost(asked(file, rectangles, tmp_path, teacher=teacher), None, 2)
        for file in (spec, repopt)
        for teacher in ("none", "self")
    ]
    assert costs == pytest.approx([1.0, 2 + 1 / 3, 1.1, 2.2 + 1 / 3])


def test_minutes_become_epochs_once(
    spec: Path, rectangles: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    told = asked(spec, rectangles, out, epochs=None, minutes=1e-6)
    started: list[int] = []

    def killed(asked, data, options, hardware, teacher, watch):
        started.append(options.epochs)
        (out / "run").mkdir(exist_ok=True)
        (out / "run" / "checkpoint.pt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(single, "_train", killed)
    for epochs in (1, 7):
        with pytest.raises(KeyboardInterrupt):
            run_single(told)
        assert started[-1] == epochs
        record = json.loads((out / RECORD).read_text())
        (out / RECORD).write_text(json.dumps({**record, "epochs": 7}))


def test_a_spec_that_says_qat_is_refused_before_training(
    spec: Path, rectangles: DetectionData, tmp_path: Path
) -> None:
    precision = {"kind": "int8", "scheme": "qat", "float_layers": 0, "metric": None}
    spec.write_text(json.dumps({**json.loads(spec.read_text()), "precision": precision}))
    assert asked(spec, rectangles, tmp_path / "out", precision="fp32").candidate.precision == Precision()
    with pytest.raises(UserError, match=r"--precision fp32, then run python -m search.qat"):
        asked(spec, rectangles, tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "give either the NAME"),
        (["N", "--spec", "x.json"], "give either the NAME"),
        (["NN"], "did you mean"),
        (["N", "--epochs", "3", "--minutes", "3"], "not both"),
        (["N", "--image-size", "300"], "multiple of 32"),
        (["N", "--lr", "50"], "learning rate"),
        (["N", "--processes", "9", "--batch", "8"], "cannot be shared by so many"),
        (["N", "--init", "no/such.safetensors"], "no/such.safetensors"),
        (["N", "--teacher", "no/such/artefact"], "no/such/artefact"),
        (["N", "--data", "no/such/folder"], "no/such/folder"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    arguments: list[str], hint: str, rectangles: DetectionData, tmp_path: Path
) -> None:
    source = rectangles.split("train").annotations.parent.parent
    data = [] if "--data" in arguments else ["--data", str(source)]
    done = CliRunner().invoke(main, [*arguments, *data, "--out", str(tmp_path / "out")])
    assert done.exit_code != 0 and isinstance(done.exception, UserError)
    assert hint in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_network_that_was_deleted_is_built_again(
    spec: Path, rectangles: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asked(spec, rectangles, tmp_path / "out", epochs=1)
    first = run_single(told)
    shutil.rmtree(tmp_path / "out" / "network")
    monkeypatch.setattr(single, "_train", None)  # its weights are still there
    again = run_single(told)
    assert again["artefact"]["hash"] == first["artefact"]["hash"]
    assert load_artefact(tmp_path / "out" / "network").hash == first["artefact"]["hash"]


def test_weights_that_were_damaged_after_training_are_trained_again(
    spec: Path, rectangles: DetectionData, tmp_path: Path
) -> None:
    told, out = asked(spec, rectangles, tmp_path / "out", epochs=1), tmp_path / "out"
    first = run_single(told)
    shutil.rmtree(out / "network")
    weights = next((out / "run").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    assert run_single(told)["artefact"]["hash"] == first["artefact"]["hash"]


def test_a_record_of_another_kind_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint").touch()
    for text, reason in (('{"asked": {"weights": 1}}', "of another kind"), ('{"asked": [1]}', "is damaged")):
        (tmp_path / RECORD).write_text(text)
        with pytest.raises(UserError, match=reason), claimed(tmp_path, {"epochs": 2}):
            pass
    assert trained_before(tmp_path, {"trained": {}}) is None


def test_a_network_of_random_weights_does_not_teach(
    spec: Path, tiny: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    untrained_artefact(tiny, num_classes=2, image_size=64, folder=tmp_path / "random")
    with pytest.raises(UserError, match="its weights are random"):
        run_single(asked(spec, rectangles, tmp_path / "out", teacher=str(tmp_path / "random")))


def test_one_process_at_a_time_trains_in_a_folder(
    spec: Path, rectangles: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first moment on, before anything of the training is on disk."""
    first, second = (asked(spec, rectangles, tmp_path / "out", epochs=epochs) for epochs in (1, 2))

    def train(*_: object) -> None:
        with pytest.raises(UserError, match="another process trains in"):
            run_single(second)
        raise KeyboardInterrupt

    monkeypatch.setattr(single, "_train", train)
    with pytest.raises(KeyboardInterrupt):
        run_single(first)
    assert json.loads((tmp_path / "out" / RECORD).read_text())["asked"]["epochs"] == 1
    with claimed(tmp_path / "out", {"epochs": 2}) as known:  # nothing was left behind: free for another
        assert known == {"asked": {"epochs": 2}}


def test_a_folder_with_other_things_is_left_alone(
    spec: Path, rectangles: DetectionData, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no training"):
        run_single(asked(spec, rectangles, tmp_path / "notes"))
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["mine.txt"]
