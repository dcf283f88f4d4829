"""The rewritten graph means the same: ONNX Runtime, which takes it literally, is the judge."""

import numpy as np
import onnx
import onnxruntime
import pytest

from evaluators.artefact import noise_images, untrained_artefact
from evaluators.latency.openvino_graph import read_for_openvino
from tests.evaluators.networks import INT8, tiny_candidate


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    return untrained_artefact(
        tiny_candidate(INT8), num_classes=3, image_size=64, folder=tmp_path_factory.mktemp("a") / "int8"
    )


def run(content, images):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})


def test_the_same_numbers_in_other_types(artefact):
    images = noise_images(1, 64, 5)
    rewritten = read_for_openvino(artefact.onnx)
    onnx.checker.check_model(onnx.load_from_string(rewritten))
    for before, after in zip(run(artefact.onnx.read_bytes(), images), run(rewritten, images), strict=True):
        np.testing.assert_array_equal(before, after)


def test_only_weights_and_transposed_convolutions_stay_signed(artefact):
    graph = onnx.load_from_string(read_for_openvino(artefact.onnx)).graph
    unsigned = [
        node
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[2] == "uint8_zero_point"
    ]
    signed = [
        node
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[2] != "uint8_zero_point"
    ]
    layers = 42 + 2
    assert len(unsigned) == 42
    assert len(signed) == layers + 2
    assert sum("upsample" in node.name and "input_quantizer" in node.name for node in signed) == 2


def test_a_float_graph_is_left_alone(tmp_path):
    artefact = untrained_artefact(tiny_candidate(), num_classes=3, image_size=64, folder=tmp_path / "f")
    assert read_for_openvino(artefact.onnx) == artefact.onnx.read_bytes()
