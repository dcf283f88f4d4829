"""QAT of a tiny network: it learns, its scales reach the graph, float layers stay float, kills change nothing."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from evaluators.artefact import Artefact, build_artefact
from evaluators.data import DetectionData
from evaluators.quantization.fine_tuned import load_quantized
from foundation.errors import UserError
from search.deploying import calibration_images
from search.options import QAT_LR
from search.training import TrainedNetwork, TrainingOptions, TrainingProgress, fine_tune, load_detector, train
from search.training import run as run_module
from search.training.checkpoint import FILE
from search.training.qat import FineTuning
from search.training.weights import read_weights, save_detector
from tests.search.training.kills import Killed, kill_after
from yolov6space.candidate import Candidate, Precision

FULL = Precision(kind="int8", scheme="qat", float_layers=0)
PARTIAL = dataclasses.replace(FULL, float_layers=3, metric="mse")


@pytest.fixture
def plain(tiny: Candidate) -> Candidate:
    return dataclasses.replace(tiny, model=dataclasses.replace(tiny.model, conv="repopt"), precision=FULL)


def options(**changes) -> TrainingOptions:
    return TrainingOptions(**{"epochs": 2, "image_size": 64, "batch": 4, **changes})


@pytest.fixture
def weights(plain: Candidate, rectangles: DetectionData, tmp_path: Path) -> Path:
    """A network that knows a little, and that int8 hurts: one enormous weight in each filter of a layer, on a
    channel that is always 0, leaves no steps for all others."""
    trained = train(plain, rectangles, options(epochs=20, amp="off"), folder=tmp_path / "float").weights
    detector = load_detector(plain.model, 2, trained)
    with torch.no_grad():
        norm = detector.get_submodule("backbone.stage3.down.bn")
        norm.weight[0], norm.bias[0] = 0, -1
        weight = detector.get_submodule("backbone.stage3.blocks.0.conv").weight
        weight[:, 0, 0, 0] = 30 * weight.abs().max()
    save_detector(detector, tmp_path / "hurt.safetensors")
    return tmp_path / "hurt.safetensors"


def tuned(
    candidate: Candidate, data: DetectionData, weights: Path, folder: Path, told: TrainingOptions, **rest
) -> TrainedNetwork:
    images = calibration_images(data, 64, 1)
    rest = {"distillation": "full", **rest}
    return fine_tune(candidate, data, told, folder=folder, weights=weights, calibration=images, **rest)


def test_it_learns_what_int8_took(
    plain: Candidate,
    rectangles: DetectionData,
    weights: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_module, "REPORT_SECONDS", 0.0)
    seen: list[TrainingProgress] = []
    told = options(epochs=16, lr=0.01)
    result = tuned(plain, rectangles, weights, folder, told, on_progress=seen.append)
    assert (result.steps, len(seen)) == (40, 40)
    assert set(result.losses) == {"class", "box", "dfl", "distillation", "features"}
    taught = [now.parts["features"] + now.parts["distillation"] for now in seen]
    assert np.mean(taught[-8:]) < 0.7 * np.mean(taught[:8])
    assert not (folder / FILE).exists()


def test_ranges_stay_and_weights_move(
    plain: Candidate, rectangles: DetectionData, weights: Path, tmp_path: Path
) -> None:
    slow, fast = (
        read_weights(tuned(plain, rectangles, weights, tmp_path / name, options(lr=rate)).weights)
        for name, rate in (("slow", 1e-9), ("fast", 1e-3))
    )
    same = {name for name, tensor in slow.items() if torch.equal(tensor, fast[name])}
    ranges = {name for name in slow if name.endswith("_amax")}
    assert ranges <= same and len(slow.keys() - same) > 0.8 * len(slow.keys() - ranges)


def exported(
    candidate: Candidate, data: DetectionData, weights: Path, tuned: TrainedNetwork, folder: Path
) -> Artefact:
    return build_artefact(
        candidate,
        load_detector(candidate.model, 2, weights),
        class_names=data.class_names,
        image_size=64,
        folder=folder,
        quantized=load_quantized(candidate.model, 2, tuned.weights),
    )


def scales_of(graph: onnx.GraphProto) -> dict[str, tuple[np.ndarray | None, np.ndarray | None]]:
    """Scales of input and weight of every convolution by the name of its layer; None where there is no quantizer."""
    producers = {output: node for node in graph.node for output in node.output}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    constants |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in graph.node
        if node.op_type == "Constant"
    }

    def behind(name: str) -> tuple[str, np.ndarray | None]:
        node = producers.get(name)
        if node is None or node.op_type != "DequantizeLinear":
            return name, None
        quantizer = producers[node.input[0]]
        assert quantizer.op_type == "QuantizeLinear" and quantizer.input[1] == node.input[1]
        return quantizer.input[0], constants[node.input[1]]

    found = {}
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            weight, scale = behind(node.input[1])
            name = weight.removeprefix("detector.").removesuffix(".weight")
            found[name] = (behind(node.input[0])[1], scale)
    return found


def test_scales_are_in_the_graph_and_float_layers_stay_float(
    plain: Candidate, rectangles: DetectionData, weights: Path, tmp_path: Path
) -> None:
    candidate = dataclasses.replace(plain, precision=PARTIAL)
    result = tuned(candidate, rectangles, weights, tmp_path / "run", options(epochs=1))
    artefact = exported(candidate, rectangles, weights, result, tmp_path / "artefact")
    floats = artefact.meta.float_layers
    assert "backbone.stage3.blocks.0.conv" in floats and len(floats) == 3  # the one that was hurt
    state, graph = read_weights(result.weights), onnx.load(artefact.onnx).graph
    found = scales_of(graph)
    assert set(found) == {name.removesuffix(".weight") for name in state if name.endswith(".weight")}
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for name, (of_input, of_weight) in found.items():
        np.testing.assert_array_equal(initializers[f"detector.{name}.weight"], state[f"{name}.weight"])
        if name in floats:
            assert of_input is None and of_weight is None
            continue
        for kind, scale in (("input", of_input), ("weight", of_weight)):
            ranges = state[f"{name}.{kind}_quantizer._amax"].flatten().squeeze()
            steps = torch.where(ranges == 0, 1, ranges / 127)  # a channel without weights needs some scale
            np.testing.assert_allclose(scale, steps, rtol=1e-6)


def test_the_engine_computes_what_was_trained(
    plain: Candidate, rectangles: DetectionData, weights: Path, tmp_path: Path
) -> None:
    import onnxruntime

    result = tuned(plain, rectangles, weights, tmp_path / "run", options(lr=0.01))
    artefact = exported(plain, rectangles, weights, result, tmp_path / "artefact")
    (images, *_) = calibration_images(rectangles, 64, 1)
    exact = onnxruntime.SessionOptions()
    exact.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(artefact.onnx, exact, providers=["CPUExecutionProvider"])
    boxes, scores = session.run(None, {"images": images})
    network = load_quantized(plain.model, 2, result.weights).network
    with torch.inference_mode():
        wanted_boxes, wanted = network.decode(network(torch.from_numpy(images)), 64, 64)
    np.testing.assert_allclose(scores, wanted, atol=0.02)
    np.testing.assert_allclose(boxes, wanted_boxes, atol=1.0)


def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(
    plain: Candidate, rectangles: DetectionData, weights: Path, tmp_path: Path
) -> None:
    told = options(epochs=4, checkpoint_seconds=0)
    unbroken = tuned(plain, rectangles, weights, tmp_path / "unbroken", told)
    for steps in (3, 0, 4):  # and one guard more, of the quantizing
        with pytest.raises(Killed):
            tuned(plain, rectangles, weights, tmp_path / "broken", told, device_guard=kill_after(1 + steps))
    torch.manual_seed(99)  # whatever the caller did with the global generator
    broken = tuned(plain, rectangles, weights, tmp_path / "broken", told, device_guard=kill_after(1 + 3))
    first, second = read_weights(unbroken.weights), read_weights(broken.weights)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_is_as_long_as_told_and_starts_without_warm_up(plain: Candidate) -> None:
    plan = FineTuning.of(plain.model, options(epochs=4, lr=QAT_LR), 100, resumed_weights=True)
    assert plan.steps == 100 and plan.lr == QAT_LR
    assert [plan.lr_factor(step) for step in (0, 100)] == pytest.approx([1, 0.01])
    assert plan.lr_factor(0, bias=True) == 1 and plan.momentum(0) == plan.momentum(99)
    assert plan.weight_decay == pytest.approx(5e-5 * 4 / 64)


def test_weights_of_another_network_are_refused(
    plain: Candidate, tiny: Candidate, rectangles: DetectionData, weights: Path, folder: Path
) -> None:
    other = dataclasses.replace(tiny, precision=FULL)
    with pytest.raises(UserError, match="another network"):
        tuned(other, rectangles, weights, folder, options())
