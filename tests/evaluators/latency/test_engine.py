import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from evaluators.artefact import build_artefact, noise_images, untrained_artefact
from evaluators.denormals import flushes_denormals
from evaluators.devices import overflows_int8
from evaluators.hardware import resolve_hardware, supported_precisions
from evaluators.latency import open_engine
from foundation.errors import UserError
from tests.evaluators.networks import INT8, tiny_candidate
from yolov6space.candidate import Precision
from yolov6space.networks import DeployGraph, build, fuse, realistic_statistics

CPU = resolve_hardware("cpu")
SIZE = 64


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artefacts")
    made = {}

    def get(precision):
        if precision not in made:
            made[precision] = untrained_artefact(
                tiny_candidate(precision),
                num_classes=3,
                image_size=SIZE,
                batch=2,
                folder=folder / str(len(made)),
                half_weights=overflows_int8(CPU),
            )
        return made[precision]

    return get


def torch_outputs(artefact, images):
    detector = build(artefact.candidate.model, 3)
    detector.load_state_dict(load_file(artefact.weights))
    with torch.inference_mode():
        return [each.numpy() for each in DeployGraph(fuse(detector.eval()))(torch.from_numpy(images))]


def test_fp32_engine_computes_what_pytorch_computes(artefacts):
    artefact, images = artefacts(Precision()), noise_images(2, SIZE, 7)
    with open_engine(artefact, CPU, threads=1) as engine:
        assert engine.batch == 2
        boxes, scores = engine.infer(images)
        assert set(engine.runtime_precisions()) >= {"Convolution f32"}
        assert not any(name.endswith((" i8", " bf16")) for name in engine.runtime_precisions())
    expected_boxes, expected_scores = torch_outputs(artefact, images)
    np.testing.assert_allclose(boxes, expected_boxes, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-3, atol=1e-4)


def test_int8_engine_runs_in_int8(artefacts):
    with open_engine(artefacts(INT8), CPU, threads=1) as engine:
        counts = engine.runtime_precisions()
    assert counts["Convolution i8"] == 42
    assert counts["Convolution f32"] == 0
    assert counts["Deconvolution i8"] == 2


def test_int8_engine_computes_what_the_graph_says(artefacts):
    """Against ONNX Runtime, which executes the Q/DQ nodes literally, and beside the float network."""
    artefact, images = artefacts(INT8), noise_images(2, SIZE, 7)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(artefact.onnx, options, providers=["CPUExecutionProvider"])
    expected_boxes, expected_scores = session.run(["boxes", "scores"], {"images": images})
    with open_engine(artefact, CPU, threads=1) as engine:
        boxes, scores = engine.infer(images)
    float_boxes, float_scores = torch_outputs(artefact, images)
    for got, expected, exact in (
        (boxes, expected_boxes, float_boxes),
        (scores, expected_scores, float_scores),
    ):
        quantization_error = np.abs(expected - exact).mean()
        assert quantization_error > 0
        # Values half-way between two steps may round the other way and spread through the layers.
        assert np.abs(got - expected).mean() < 0.5 * quantization_error
    spread = (float_scores - float_scores.mean()).std()
    assert (expected_scores - float_scores).std() < spread


@pytest.mark.skipif("bf16" not in supported_precisions(CPU), reason="this CPU has no bf16")
def test_bf16_engine_runs_in_bf16(artefacts):
    with open_engine(artefacts(Precision(kind="bf16")), CPU, threads=1) as engine:
        counts = engine.runtime_precisions()
    assert counts["Convolution bf16"] >= 30
    assert counts["Convolution f32"] == 0


def test_bf16_is_refused_where_the_cpu_lacks_it(artefacts, monkeypatch):
    artefact = artefacts(Precision(kind="bf16"))
    monkeypatch.setattr("evaluators.hardware.supported_precisions", lambda hardware: ("fp32", "int8"))
    with (
        pytest.raises(UserError, match=r"bf16 does not run on cpu .* use fp32 or int8"),
        open_engine(artefact, CPU),
    ):
        pass


def test_denormals_are_flushed_for_the_engine_only(artefacts):
    assert not flushes_denormals()
    with open_engine(artefacts(Precision()), CPU, threads=1) as engine:
        assert engine.environment["denormals_flushed"] is True
        engine.infer(noise_images(2, SIZE, 1))
    assert not flushes_denormals()


def test_results_are_copies(artefacts):
    with open_engine(artefacts(Precision()), CPU, threads=1) as engine:
        first = engine.infer(noise_images(2, SIZE, 1))[1]
        kept = first.copy()
        engine.infer(noise_images(2, SIZE, 2))
        np.testing.assert_array_equal(first, kept)


def test_an_input_of_another_shape_is_refused(artefacts):
    with (
        open_engine(artefacts(Precision()), CPU, threads=1) as engine,
        pytest.raises(ValueError, match="built for"),
    ):
        engine.infer(noise_images(1, SIZE, 1))


def test_impossible_threads(artefacts):
    with pytest.raises(UserError, match="threads is 0"), open_engine(artefacts(Precision()), CPU, threads=0):
        pass


def test_realistic_weights_have_no_denormals(tmp_path):
    candidate = tiny_candidate()
    detector = realistic_statistics(build(candidate.model, 2))
    artefact = build_artefact(
        candidate, detector, class_names=["a", "b"], image_size=SIZE, folder=tmp_path / "a"
    )
    with open_engine(artefact, CPU, threads=1) as engine:
        _, scores = engine.infer(noise_images(1, SIZE, 0))
    assert scores.std() > 1e-3


def test_a_device_that_is_not_here_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluators.hardware.has_nvidia_gpu", lambda: False)
    artefact = untrained_artefact(tiny_candidate(), num_classes=2, image_size=64, folder=tmp_path / "a")
    with (
        pytest.raises(UserError, match="Tesla T4 is not here"),
        open_engine(artefact, resolve_hardware("t4")),
    ):
        pass


def test_an_int8_network_of_another_processor_is_said_to_overflow(tmp_path, monkeypatch, capsys):
    network = realistic_statistics(build(tiny_candidate().model, 2))
    made = {
        half: build_artefact(
            tiny_candidate(INT8),
            network,
            class_names=["a", "b"],
            image_size=SIZE,
            folder=tmp_path / str(half),
            calibration=[noise_images(1, SIZE, 0)],
            half_weights=half,
        )
        for half in (False, True)
    }
    assert [artefact.meta.half_weights for artefact in made.values()] == [False, True]
    for overflows, half, told in ((True, False, True), (True, True, False), (False, False, False)):
        monkeypatch.setattr("evaluators.devices.overflows_int8", lambda hardware, now=overflows: now)
        with open_engine(made[half], CPU, threads=1):
            pass
        assert ("its int8 sums overflow" in capsys.readouterr().err) is told
