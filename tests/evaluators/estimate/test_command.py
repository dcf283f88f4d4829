import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from evaluators.estimate.command import calibrate_command
from evaluators.hardware import Hardware
from foundation.errors import UserError, WorkFailedError
from tests.evaluators.estimate.test_device import Device


def invoke(*arguments):
    return CliRunner().invoke(calibrate_command, [str(argument) for argument in arguments])


def kept(folder):
    [path] = folder.glob("calibrations/*.json")
    return json.loads(path.read_text())["measured"]


def test_the_device_is_measured_kept_and_cross_validated(tmp_path, monkeypatch):
    """Building and timing have tests of their own."""
    device = Device(disturbed=(3,))
    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr("evaluators.artefact.untrained_artefact", lambda candidate, **options: candidate)
    monkeypatch.setattr(
        "evaluators.latency.isolated.measure_isolated",
        lambda candidate, *_, **options: device.measure(candidate),
    )
    result = invoke("--hardware", "cpu", "--samples", 12)
    assert result.exit_code == 0, result.output
    assert "12 candidates measured" in result.stdout
    assert "(1 disturbed)" in result.stdout
    assert "mean error" in result.stdout
    assert "measured again" in result.stdout
    answer = json.loads(invoke("--hardware", "cpu", "--samples", 12, "--json").stdout)
    assert len(device.measured) == 13, "only the disturbed one is measured again"
    assert answer["disturbed"] == 0
    assert answer["cross_validation"]["samples"] == 12
    assert answer["constants"]["giga_macs"] > 0
    assert len(json.loads(Path(answer["file"]).read_text())["measured"]) == 12


def test_a_gpu_is_calibrated_with_graphs_of_its_own_format(tmp_path, monkeypatch):
    device, formats = Device(), set()
    gpu = Hardware(
        name="tensorrt", device="cuda:0", backend="tensorrt", reason="as asked", default_image_size=320
    )
    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr("evaluators.hardware.resolve_hardware", lambda name: gpu)
    monkeypatch.setattr(
        "evaluators.artefact.untrained_artefact",
        lambda candidate, *, float_format, **options: formats.add(float_format) or candidate,
    )
    monkeypatch.setattr(
        "evaluators.latency.isolated.measure_isolated",
        lambda candidate, *_, **options: device.measure(candidate),
    )
    result = invoke("--hardware", "tensorrt", "--samples", 12)
    assert result.exit_code == 0, result.output
    assert formats == {"fp16"}
    kinds = {one["candidate"]["precision"]["kind"] for one in kept(tmp_path)}
    assert kinds == {"fp16", "int8"}


def test_what_cannot_be_calibrated_is_told(monkeypatch):
    monkeypatch.setattr("evaluators.hardware.has_nvidia_gpu", lambda: False)
    assert "published speeds already" in str(invoke("--hardware", "t4").exception)
    assert isinstance(invoke("--hardware", "cpu", "--image-size", 100).exception, UserError)


@pytest.mark.parametrize("arguments", [("--samples", 3), ("--batch", 0)])
def test_wrong_usage(arguments):
    assert invoke(*arguments).exit_code == 2


def test_a_candidate_that_crashes_the_library_is_left_out(tmp_path, monkeypatch):
    device, asked = Device(), []

    def measure(candidate, *_, **options):
        asked.append(candidate.key)
        if len(asked) in (2, 3, 5):
            raise WorkFailedError("latency crashed (SIGSEGV)")
        return device.measure(candidate)

    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr("evaluators.artefact.untrained_artefact", lambda candidate, **options: candidate)
    monkeypatch.setattr("evaluators.latency.isolated.measure_isolated", measure)
    result = invoke("--hardware", "cpu", "--samples", 10)
    assert isinstance(result.exception, WorkFailedError) and len(asked) == 10
    assert "only 7 candidates could be measured" in str(result.exception)
    assert result.stderr.count("left out") == 3 and result.stderr.count("crashed (SIGSEGV)") == 3
    assert len(kept(tmp_path)) == 7
    assert invoke("--hardware", "cpu", "--samples", 10).exit_code == 0  # those three, once more
    assert len(asked) == 13 and len(kept(tmp_path)) == 10


def test_a_device_on_which_nothing_works_ends_it(tmp_path, monkeypatch):
    asked = []

    def measure(candidate, *_, **options):
        asked.append(candidate.key)
        raise WorkFailedError("latency hung")

    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr("evaluators.artefact.untrained_artefact", lambda candidate, **options: candidate)
    monkeypatch.setattr("evaluators.latency.isolated.measure_isolated", measure)
    result = invoke("--hardware", "cpu", "--samples", 10)
    assert len(asked) == 3 and "one after the other, the last because: latency hung" in str(result.exception)
