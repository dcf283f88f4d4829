import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from evaluators import device_lock
from evaluators.artefact import untrained_artefact
from evaluators.latency import isolated
from evaluators.latency.command import latency_command
from foundation.errors import UserError, WorkFailedError
from tests.evaluators.networks import INT8, tiny_candidate


def invoke(*arguments):
    return CliRunner().invoke(latency_command, [str(argument) for argument in arguments])


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "candidate.json"
    path.write_text(json.dumps(tiny_candidate().to_dict()))
    return path


FAST = ("--hardware", "cpu", "--threads", "1", "--seconds", "0.1")


def test_one_line_with_figures_and_protocol(spec):
    result = invoke("--spec", spec, "--image-size", 64, "--classes", 2, *FAST)
    assert result.exit_code == 0, result.output
    line = result.stdout.splitlines()[0]
    for part in ("ms median", "95 %", "p99", "samples", "openvino", "1 threads", "fp32, 64 px, batch 1"):
        assert part in line


def test_json_of_an_artefact(tmp_path):
    artefact = untrained_artefact(tiny_candidate(), num_classes=2, image_size=64, folder=tmp_path / "a")
    result = invoke("--artefact", artefact.folder, "--json", *FAST)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["candidate"] == tiny_candidate().key
    assert answer["trained"] is False
    assert answer["measurement"]["artefact_hash"] == artefact.hash
    assert answer["low_ms"] <= answer["median_ms"] <= answer["high_ms"]


def test_a_library_that_crashes_takes_nothing_with_it(tmp_path, monkeypatch):
    import openvino  # noqa: F401 - this process has the real one already

    artefact = untrained_artefact(tiny_candidate(), num_classes=2, image_size=64, folder=tmp_path / "a")
    broken = tmp_path / "libraries" / "openvino"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.syspath_prepend(broken.parent)
    result = invoke("--artefact", artefact.folder, *FAST)
    assert isinstance(result.exception, WorkFailedError)
    assert str(result.exception) == "latency crashed (SIGSEGV)"


def test_the_device_is_held_before_the_time_limit_runs(tmp_path, monkeypatch):
    artefact = untrained_artefact(tiny_candidate(), num_classes=2, image_size=64, folder=tmp_path / "a")
    held, original = [], isolated.run_isolated

    def run_and_look(*arguments, **options):
        held.append("cpu" in device_lock._held.devices)
        return original(*arguments, **options)

    monkeypatch.setattr(isolated, "run_isolated", run_and_look)
    result = invoke("--artefact", artefact.folder, *FAST)
    assert result.exit_code == 0, result.output
    assert held == [True]


def test_precision_of_the_spec_holds_unless_another_is_given(tmp_path):
    path = tmp_path / "int8.json"
    path.write_text(json.dumps(tiny_candidate(INT8).to_dict()))
    given = ("--spec", path, "--image-size", 64, "--classes", 2, "--json", *FAST)
    for extra, precision in ((), "int8"), (("--precision", "fp32"), "fp32"):
        result = invoke(*given, *extra)
        assert json.loads(result.stdout)["measurement"]["workload"]["precision"] == precision


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "exactly one of"),
        (("--model", "N", "--artefact", "x"), "exactly one of"),
        (("--model", "YOLOv9"), "YOLOv9"),
        (("--model", "N", "--hardware", "abacus"), "choose one of"),
        (("--model", "N", "--precision", "fp16"), "does not run on cpu"),
        (("--spec", "missing.json"), "cannot read missing.json: No such file"),
        (("--artefact", "missing"), "there is no such folder"),
    ],
)
def test_bad_input_is_told_in_one_line(arguments, message):
    result = invoke(*arguments)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)


@pytest.mark.parametrize("text", ["", "[]", '{"model": 3}', "\xff"])
def test_a_spec_that_is_none(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("latin-1"))
    result = invoke("--spec", path)
    assert isinstance(result.exception, UserError)
    assert "bad.json" in str(result.exception)


def test_options_must_agree_with_the_artefact(tmp_path):
    artefact = untrained_artefact(tiny_candidate(), num_classes=2, image_size=64, folder=tmp_path / "a")
    result = invoke("--artefact", artefact.folder, "--batch", 4)
    assert "--batch 4" in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--precision", "int4"),
        ("--image-size", "300"),
        ("--batch", "0"),
        ("--seconds", "0"),
        ("--threads", "0"),
    ],
)
def test_wrong_usage(arguments):
    result = invoke("--model", "N", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.output


def test_program_exit_code_and_help_without_heavy_imports():
    code = (
        "import sys, runpy; sys.argv = ['evaluators', 'latency', '--help']\n"
        "try: runpy.run_module('evaluators', run_name='__main__')\n"
        "finally: print(sorted({'torch', 'openvino', 'modelopt', 'scipy', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert "Examples" in done.stdout
    command = [sys.executable, "-m", "evaluators", "latency", "--model", "N", "--hardware", "tensorrt"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: hardware 'tensorrt'")


def test_a_t4_is_estimated_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluators.hardware.has_nvidia_gpu", lambda: False)
    result = invoke("--model", "S", "--hardware", "t4", "--batch", 32)
    assert result.exit_code == 0, result.output
    assert "ms estimated, not measured" in result.stdout
    assert "TensorRT 8.4" in result.stdout
    assert "fp16, 640 px, batch 32" in result.stdout
    answer = json.loads(invoke("--model", "S", "--hardware", "t4", "--tensorrt", "7.2", "--json").stdout)
    assert answer["origin"] == "estimated"
    assert answer["low_ms"] <= 1e3 / 358 <= answer["high_ms"]
    assert not {"median_ms", "measurement", "samples"} & set(answer)


def test_an_artefact_is_estimated_for_a_t4_as_it_was_built(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluators.hardware.has_nvidia_gpu", lambda: False)
    artefact = untrained_artefact(tiny_candidate(INT8), num_classes=2, image_size=64, folder=tmp_path / "a")
    answer = json.loads(invoke("--artefact", artefact.folder, "--hardware", "t4", "--json").stdout)
    assert (answer["workload"]["image_size"], answer["workload"]["classes"]) == (64, 2)
    assert answer["workload"]["precision"].startswith("int8")
    refused = invoke("--artefact", artefact.folder, "--hardware", "t4", "--batch", 2)
    assert "was built for 1" in str(refused.exception)


def test_a_tensorrt_release_belongs_to_an_estimate():
    result = invoke("--model", "S", "--hardware", "cpu", "--tensorrt", "8.2")
    assert "leave it out" in str(result.exception)
