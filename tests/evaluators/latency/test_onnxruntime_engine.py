import os
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from evaluators.artefact import noise_images, untrained_artefact
from evaluators.devices import overflows_int8
from evaluators.hardware import resolve_hardware
from evaluators.latency import Sampling, measure, open_engine
from evaluators.latency.onnxruntime_engine import OnnxRuntimeEngine
from foundation.errors import UserError
from tests.evaluators.networks import INT8, tiny_candidate
from yolov6space.candidate import Precision

CPU, OPENVINO = resolve_hardware("onnxruntime:cpu"), resolve_hardware("openvino:cpu")
SIZE = 64


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artefacts")
    return {
        precision.kind: untrained_artefact(
            tiny_candidate(precision),
            num_classes=3,
            image_size=SIZE,
            batch=2,
            folder=folder / precision.kind,
            half_weights=overflows_int8(CPU),
        )
        for precision in (Precision(), INT8)
    }


def test_both_back_ends_compute_the_same(artefacts):
    images = noise_images(2, SIZE, 7)
    found = []
    for hardware in (CPU, OPENVINO):
        with open_engine(artefacts["fp32"], hardware, threads=1) as engine:
            assert engine.batch == 2
            found.append(engine.infer(images))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=2e-3)


def test_what_is_timed_is_what_is_computed(artefacts):
    images = noise_images(2, SIZE, 7)
    with open_engine(artefacts["fp32"], CPU, threads=1) as engine:
        expected = engine.infer(images)
        engine.load(images)
        engine.run()
        bound = [value.numpy() for value in engine._binding.get_outputs()]
    for mine, theirs in zip(bound, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_precisions_are_read_back_from_the_optimised_graph(artefacts):
    with open_engine(artefacts["fp32"], CPU, threads=1) as engine:
        counts = engine.runtime_precisions()
    assert (counts["Convolution f32"], counts["Deconvolution f32"]) == (42, 2)
    with open_engine(artefacts["int8"], CPU, threads=1) as engine:
        counts = engine.runtime_precisions()
    assert counts["Convolution i8"] >= 10
    # Before a concatenation, and transposed, there is no int8 kernel for a convolution; the counts say so.
    assert counts["Convolution i8"] + counts["Convolution f32"] == 42
    assert counts["Deconvolution f32"] == 2


def test_int8_computes_what_the_graph_says(artefacts):
    """Against a session that executes the Q/DQ nodes literally, beside the float network."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    images = noise_images(2, SIZE, 7)
    literal, exact = (
        onnxruntime.InferenceSession(artefacts[kind].onnx, options, providers=["CPUExecutionProvider"]).run(
            ["boxes", "scores"], {"images": images}
        )
        for kind in ("int8", "fp32")
    )
    with open_engine(artefacts["int8"], CPU, threads=1) as engine:
        found = engine.infer(images)
    for mine, expected, true in zip(found, literal, exact, strict=True):
        # Values half-way between two steps may round the other way and spread through the layers.
        assert np.abs(mine - expected).mean() < 0.5 * np.abs(expected - true).mean()


def test_threads_are_pinned_and_recorded_and_the_caller_is_free_again(artefacts):
    before = os.sched_getaffinity(0)
    threads = min(2, len(before))
    with open_engine(artefacts["fp32"], CPU, threads=threads) as engine:
        assert engine.environment["threads"] == threads
        cores = engine.environment["onnxruntime_options"]["pinned_cores"]
        assert len(cores) == threads
        engine.load(noise_images(2, SIZE, 1))
        engine.run()
        assert os.sched_getaffinity(0) == before


def test_two_engines_open_at_once_get_the_same_threads_and_cores(artefacts):
    images = noise_images(2, SIZE, 1)
    with open_engine(artefacts["fp32"], CPU) as first:
        first.load(images)
        first.run()
        with open_engine(artefacts["int8"], CPU) as second:
            second.load(images)
            ours, theirs = first.environment, second.environment
    assert ours["threads"] == theirs["threads"]
    assert ours["onnxruntime_options"]["pinned_cores"] == theirs["onnxruntime_options"]["pinned_cores"]


def test_a_graph_is_saved_only_where_it_can_be(artefacts, monkeypatch):
    """ONNX Runtime refuses to save what TensorRT compiled; a stand-in notes what a session is asked for."""
    asked = []

    class Session:
        def __init__(self, graph, options, providers):
            asked.append((options.optimized_model_filepath, providers[0]))
            self.name = providers[0][0]

        def get_providers(self):
            return [self.name]

        def get_inputs(self):
            return [SimpleNamespace(shape=[2, 3, SIZE, SIZE])]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    for device in ("cuda", "tensorrt"):
        engine = OnnxRuntimeEngine(artefacts["fp32"], device, 1)
        assert not engine.runtime_precisions()
        engine.close()
    (cuda_file, (_, cuda_options)), (tensorrt_file, _) = asked
    assert cuda_file.endswith(".onnx")
    assert cuda_options["use_tf32"] == "0"
    assert not tensorrt_file


def test_a_measurement_names_the_back_end(artefacts):
    measured = measure(artefacts["fp32"], CPU, threads=1, sampling=Sampling(seconds=0.1))
    assert measured.workload.backend == "onnxruntime"
    assert measured.workload.device == "cpu"
    assert measured.environment["onnxruntime_options"]["providers"] == ["CPUExecutionProvider"]
    assert measured.median_ms > 0


@pytest.mark.parametrize("hardware", [CPU, OPENVINO])
def test_an_int8_network_built_for_nvidia_is_refused_on_a_cpu(tmp_path, hardware):
    built = untrained_artefact(
        tiny_candidate(INT8), num_classes=2, image_size=SIZE, folder=tmp_path / "a", float_format="fp16"
    )
    with pytest.raises(UserError, match="its float layers are fp16"), open_engine(built, hardware):
        pass


def test_an_input_of_another_shape_and_impossible_threads(artefacts):
    with (
        open_engine(artefacts["fp32"], CPU, threads=1) as engine,
        pytest.raises(ValueError, match="built for"),
    ):
        engine.infer(noise_images(1, SIZE, 1))
    with pytest.raises(UserError, match="threads is 0"), open_engine(artefacts["fp32"], CPU, threads=0):
        pass
