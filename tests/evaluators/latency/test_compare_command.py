import json

from click.testing import CliRunner

from evaluators.artefact import untrained_artefact
from evaluators.latency.compare_command import compare_command
from tests.evaluators.networks import tiny_candidate

FAST = ("--hardware", "cpu", "--threads", "1", "--seconds", "0.02", "--rounds", "6")


def invoke(*arguments):
    return CliRunner().invoke(compare_command, [str(argument) for argument in arguments])


def test_a_small_input_beats_a_large_one_of_the_same_network(tmp_path):
    small, large = (
        untrained_artefact(
            tiny_candidate(), num_classes=2, image_size=size, folder=tmp_path / str(size)
        ).folder
        for size in (64, 320)
    )
    answer = json.loads(invoke(large, small, "--json", *FAST).stdout)
    assert answer["faster"] == "second"
    assert answer["high"] < 1
    assert len(answer["first_ms"]) == 6
    assert f"{small} is faster" in invoke(small, large, *FAST).stdout


def test_what_cannot_be_compared_is_told(monkeypatch):
    monkeypatch.setattr("evaluators.hardware.has_nvidia_gpu", lambda: False)
    assert "is measured" in str(invoke("N", "S", "--hardware", "t4").exception)
    assert "no variant is called" in str(invoke("N", "nothing", *FAST).exception)
    assert "must be a multiple of 32" in str(invoke("N", "S", *FAST, "--image-size", 100).exception)
