"""The real compiler on real graphs; TensorRT-RTX needs no GPU for it."""

import dataclasses

import onnx
import pytest
from onnx import TensorProto, helper

from evaluators.artefact import untrained_artefact
from evaluators.cache import Cache
from evaluators.tensorrt.build import BuildOptions, build_plan
from evaluators.tensorrt.engines import NO_READ_BACK, engine_of
from evaluators.tensorrt.library import find_library
from foundation.errors import UserError, WorkFailedError
from tests.evaluators.networks import INT8, tiny_candidate
from yolov6space.candidate import Precision

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (pip install tensorrt-rtx)")
T4 = BuildOptions(compute_capability="7.5")
KINDS = {
    "fp32": Precision(),
    "fp16": Precision(kind="fp16"),
    "int8": INT8,
    "int8 with float layers": dataclasses.replace(INT8, float_layers=6, metric="mse"),
}


@pytest.fixture(scope="module")
def library():
    return find_library("tensorrt_rtx")


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fp16") / "a"
    return untrained_artefact(
        tiny_candidate(KINDS["fp16"]), num_classes=2, image_size=64, folder=folder, float_format="fp16"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_precision_compiles_for_a_t4(library, tmp_path, kind):
    """With SiLU and DFL, whose decoding must not be a matrix product."""
    candidate = tiny_candidate(KINDS[kind])
    model = dataclasses.replace(candidate.model, activation="silu", reg_max=16)
    candidate = dataclasses.replace(candidate, model=model)
    built = untrained_artefact(
        candidate, num_classes=2, image_size=64, batch=2, folder=tmp_path / "a", float_format="fp16"
    )
    assert len(build_plan(library, built.onnx, T4).data) > 10_000


def test_a_node_the_parser_refuses_is_named(library, tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Frobnicate", ["images"], ["boxes"], name="/detector/odd/Frobnicate")],
        "odd",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 3, 32, 32])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(
        WorkFailedError, match=r"refuses the graph: node /detector/odd/Frobnicate \(Frobnicate\)"
    ):
        build_plan(library, tmp_path / "odd.onnx", T4)


def test_what_is_no_graph_is_refused(library, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no graph")
    with pytest.raises(WorkFailedError, match="refuses the graph"):
        build_plan(library, tmp_path / "a.onnx", T4)


def test_without_a_gpu_a_capability_must_be_named(library, artefact):
    with pytest.raises(UserError, match=r"say which, such as 7\.5"):
        build_plan(library, artefact.onnx, BuildOptions())


def test_an_engine_is_built_once_per_graph_and_options(library, artefact, tmp_path):
    cache = Cache(tmp_path / "cache", 2**30)
    seconds = set()
    for options in (T4, T4, dataclasses.replace(T4, optimization_level=0), T4):
        with engine_of(library, artefact.onnx, artefact.meta.onnx_sha256, options, cache) as (plan, record):
            assert plan.stat().st_size == record.size_bytes
            assert record.options == options.to_dict()
            seconds.add(record.build_seconds)
    assert len(seconds) == len(cache.keys()) == 2


def test_precisions_that_were_not_read_back_are_not_shown_as_read_back(library, artefact, tmp_path):
    cache = Cache(tmp_path / "cache", 2**30)
    with engine_of(library, artefact.onnx, artefact.meta.onnx_sha256, T4, cache) as (_, record):
        assert record.precisions is None
        assert record.note == NO_READ_BACK
