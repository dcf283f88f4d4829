"""The half-precision graph against the float32 one, run by ONNX Runtime, which executes every node as typed."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from evaluators.artefact import noise_images, untrained_artefact
from evaluators.graphs.half import write_half
from foundation.errors import WorkFailedError
from tests.evaluators.networks import INT8, tiny_candidate
from yolov6space.candidate import Precision

SIZE = 64


def outputs(path, images):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(
        ["boxes", "scores"], {"images": images}
    )


@pytest.fixture(scope="module")
def float_graph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("float")
    return untrained_artefact(
        tiny_candidate(), num_classes=3, image_size=SIZE, batch=2, folder=folder / "a"
    ).onnx


def test_fp16_means_what_fp32_means(float_graph, tmp_path):
    write_half(float_graph, tmp_path / "half.onnx")
    images = noise_images(2, SIZE, 5)
    for got, expected in zip(
        outputs(tmp_path / "half.onnx", images), outputs(float_graph, images), strict=True
    ):
        assert got.dtype == np.float32
        assert 0 < np.abs(got - expected).max() < 0.02 * np.ptp(expected)


def test_int8_is_as_close_to_the_float_network_as_before(float_graph, tmp_path):
    graph = untrained_artefact(
        tiny_candidate(INT8), num_classes=3, image_size=SIZE, batch=2, folder=tmp_path / "q"
    ).onnx
    write_half(graph, tmp_path / "half.onnx")
    images = noise_images(2, SIZE, 5)
    for exact, quantized, half in zip(
        *(outputs(path, images) for path in (float_graph, graph, tmp_path / "half.onnx")), strict=True
    ):
        error = np.abs(quantized - exact).mean()
        assert np.abs(half - exact).mean() < 1.2 * error
        assert np.abs(half - quantized).mean() < error


def test_pure_fp32_precision_is_untouched(tmp_path):
    artefact = untrained_artefact(
        tiny_candidate(Precision()),
        num_classes=3,
        image_size=SIZE,
        folder=tmp_path / "a",
        float_format="fp16",
    )
    types = {tensor.data_type for tensor in onnx.load(artefact.onnx).graph.initializer}
    assert types == {TensorProto.FLOAT}


def small_graph(weight, scale=None):
    """One convolution inside the network's scope, an addition outside; with `scale` the weight is quantized."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="/detector/conv/Conv"),
        helper.make_node("Add", ["c", "one"], ["boxes"], name="/Add"),
    ]
    constants = {"one": np.ones(1, np.float32), "weight": weight}
    if scale is None:
        nodes[0].input[1] = "weight"
    else:
        constants |= {"scale": scale, "zero": np.zeros(scale.shape, np.int8)}
        for kind, source, target in (("QuantizeLinear", "weight", "q"), ("DequantizeLinear", "q", "w")):
            nodes.insert(
                -2,
                helper.make_node(
                    kind, [source, "scale", "zero"], [target], name=f"/detector/conv/{kind}", axis=0
                ),
            )
    shape = [1, 3, 4, 4]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 2, 4, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_a_weight_beyond_fp16_is_named(tmp_path):
    onnx.save(small_graph(np.full((2, 3, 1, 1), 7e4, np.float32)), tmp_path / "a.onnx")
    with pytest.raises(WorkFailedError, match=r"weight has values up to 70000"):
        write_half(tmp_path / "a.onnx", tmp_path / "b.onnx")


def test_weights_are_quantized_by_the_scale_that_fp16_holds(tmp_path):
    """Channels so small that their scale is subnormal in float16 would be off by percents otherwise."""
    weight = np.array([3.0, 4e-4], np.float32).reshape(2, 1, 1, 1) * np.array(
        [1, 0.5, -1], np.float32
    ).reshape(1, 3, 1, 1)
    scale = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    onnx.save(small_graph(weight, scale), tmp_path / "a.onnx")
    write_half(tmp_path / "a.onnx", tmp_path / "b.onnx")
    constants = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "b.onnx").graph.initializer}
    stored = constants["q"].astype(np.float64) * constants["scale"].astype(np.float64).reshape(2, 1, 1, 1)
    assert constants["q"].dtype == np.int8
    assert np.abs(stored / weight - 1).max() < 0.02
