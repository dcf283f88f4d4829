import json

import pytest
from click.testing import CliRunner

from evaluators.artefact import untrained_artefact
from evaluators.tensorrt.command import compile_command
from foundation.errors import UserError
from tests.evaluators.networks import INT8, tiny_candidate

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (pip install tensorrt-rtx)")


def run(*arguments):
    return CliRunner().invoke(compile_command, arguments, catch_exceptions=True)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8") / "a"
    return untrained_artefact(
        tiny_candidate(INT8), num_classes=2, image_size=64, folder=folder, float_format="fp16"
    )


def test_an_artefact_compiles_for_a_t4_in_another_process(artefact, tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path))
    done = run("--artefact", str(artefact.folder), "--compute-capability", "7.5", "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["artefact_hash"] == artefact.hash
    assert told["library"] == "tensorrt_rtx"
    assert told["options"]["compute_capability"] == "7.5"
    assert told["size_bytes"] > 10_000
    assert told["precisions"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "exactly one of --artefact, --model and --spec"),
        (["--model", "YOLOv6-N", "--compute-capability", "7.0"], "does not build for compute capability 7.0"),
        (["--model", "YOLOv6-N", "--precision", "bf16"], "use fp16"),
        (
            ["--model", "YOLOv6-N", "--precision", "fp16", "--float-layers", "6"],
            "belongs to --precision int8",
        ),
        (["--artefact", "nowhere", "--batch", "2"], "leave --precision"),
        (["--artefact", "nowhere"], "there is no such folder"),
    ],
)
def test_wrong_input_is_one_line_with_a_way_out(arguments, message):
    done = run(*arguments)
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)
