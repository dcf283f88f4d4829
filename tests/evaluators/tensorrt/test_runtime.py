"""The runtime on a GPU where there is one; elsewhere its order of calls against stand-ins for driver and library."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from evaluators.artefact import noise_images, untrained_artefact
from evaluators.devices import Pacing
from evaluators.hardware import has_nvidia_gpu, resolve_hardware
from evaluators.latency import Sampling, measure, open_engine
from evaluators.tensorrt import runtime
from evaluators.tensorrt.engines import EngineRecord
from evaluators.tensorrt.library import Library
from foundation.errors import WorkFailedError
from tests.evaluators.networks import INT8, tiny_candidate
from yolov6space.candidate import Precision

RECORD = EngineRecord(
    library="tensorrt",
    version="10.14.1",
    options={},
    onnx_sha256="",
    size_bytes=1,
    build_seconds=1.0,
    warnings=[],
    precisions={"asked": {"int8": 3}, "real": {"int8": 2, "fp16": 1}, "different": ["a: int8, fp16"]},
    note=None,
)
SHAPES = {"images": (2, 3, 32, 32), "boxes": (2, 21, 4), "scores": (2, 21, 3)}


class Event:
    def __init__(self, calls):
        self.calls = calls

    def record(self, stream):
        self.calls.append("record")

    def synchronize(self):
        self.calls.append("wait")

    def time_till(self, other):
        return 2.5  # milliseconds


@pytest.fixture
def calls(monkeypatch):
    """Order of the calls that matter, with stand-ins for pycuda and CUDA graphs in place."""
    calls = []
    context = SimpleNamespace(push=lambda: calls.append("push"), pop=lambda: calls.append("pop"))
    device = SimpleNamespace(retain_primary_context=lambda: context, get_attribute=lambda which: 1000)
    driver = ModuleType("pycuda.driver")
    driver.Error = RuntimeError
    driver.init = lambda: None
    driver.Device = lambda index: device
    driver.Stream = lambda: SimpleNamespace(handle=7, synchronize=lambda: None)
    driver.Event = lambda: Event(calls)
    driver.device_attribute = SimpleNamespace(L2_CACHE_SIZE="L2")
    driver.pagelocked_zeros = np.zeros
    driver.mem_alloc = lambda size: size
    driver.memcpy_htod_async = lambda target, source, stream: calls.append("in")
    driver.memcpy_dtoh_async = lambda target, source, stream: calls.append("out")
    driver.memset_d8_async = lambda target, value, size, stream: calls.append(f"flush {size}")
    package = ModuleType("pycuda")
    package.driver = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)

    class Graph:
        def __init__(self, stream, enqueue):
            assert stream == 7 and enqueue()

        def launch(self, stream):
            calls.append("launch")

        def close(self):
            calls.append("free graph")

    monkeypatch.setattr(runtime, "CudaGraph", Graph)
    return calls


def library(dtype="float32", opens=True):
    execution = SimpleNamespace(
        set_tensor_address=lambda name, address: True, execute_async_v3=lambda stream: True
    )
    engine = SimpleNamespace(
        create_execution_context=lambda: execution,
        get_tensor_dtype=lambda name: dtype,
        get_tensor_shape=lambda name: SHAPES[name],
    )
    severity = SimpleNamespace(WARNING=1, ERROR=2, INTERNAL_ERROR=3)
    module = SimpleNamespace(
        __version__="10.14.1",
        float32="float32",
        ILogger=type("ILogger", (), {"Severity": severity, "__init__": lambda self: None}),
        Runtime=lambda logger: SimpleNamespace(
            deserialize_cuda_engine=lambda plan: engine if opens else None
        ),
    )
    return Library("tensorrt", module)


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "engine.plan"
    path.write_bytes(b"plan")
    return path


def test_a_pass_is_the_graph_between_two_events_and_nothing_else(calls, plan):
    engine = runtime.TensorRtEngine(library(), plan, RECORD)
    calls.clear()
    engine.run()
    assert calls == ["record", "launch", "record", "wait"]
    assert engine.clock() == pytest.approx(2.5e-3)
    engine.run()
    assert engine.clock() == pytest.approx(5e-3)


@pytest.mark.parametrize("function", ["pagelocked_zeros", "mem_alloc", "memcpy_htod_async", "Stream"])
def test_errors_of_cuda_are_told_in_our_words(calls, plan, monkeypatch, function):
    driver = sys.modules["pycuda.driver"]

    def refuse(*_):
        raise driver.Error("out of memory")

    monkeypatch.setattr(driver, function, refuse)
    with pytest.raises(WorkFailedError, match="CUDA cannot be used here: out of memory"):
        runtime.TensorRtEngine(library(), plan, RECORD)


def test_errors_of_a_pass_too(calls, plan, monkeypatch):
    engine = runtime.TensorRtEngine(library(), plan, RECORD)

    def refuse(*_):
        raise sys.modules["pycuda.driver"].Error("lost")

    monkeypatch.setattr(Event, "record", refuse)
    monkeypatch.setattr(sys.modules["pycuda.driver"], "memcpy_htod_async", refuse)
    images = np.zeros(SHAPES["images"], np.float32)
    for act in (engine.run, lambda: engine.load(images), lambda: engine.infer(images)):
        with pytest.raises(WorkFailedError, match="lost"):
            act()


def test_flushing_comes_before_the_first_event_and_the_pause_is_not_timed(calls, plan, monkeypatch):
    slept = []
    monkeypatch.setattr(runtime.time, "sleep", slept.append)
    engine = runtime.TensorRtEngine(library(), plan, RECORD, Pacing(flush_l2=True, gap_s=0.01))
    calls.clear()
    engine.run()
    assert calls == ["flush 2000", "record", "launch", "record", "wait"]
    assert slept == [0.01]
    assert engine.clock() == pytest.approx(2.5e-3)
    assert engine.environment["pacing"] == {"flush_l2": True, "gap_s": 0.01}


def test_results_are_copies_and_shapes_are_checked(calls, plan):
    engine = runtime.TensorRtEngine(library(), plan, RECORD)
    boxes, scores = engine.infer(np.ones(SHAPES["images"], np.float32))
    assert (boxes.shape, scores.shape, engine.batch) == (SHAPES["boxes"], SHAPES["scores"], 2)
    assert boxes is not engine.infer(np.ones(SHAPES["images"], np.float32))[0]
    with pytest.raises(ValueError, match="built for"):
        engine.infer(np.ones((1, 3, 32, 32), np.float32))


def test_precisions_are_those_read_back_at_the_build(calls, plan):
    counts = runtime.TensorRtEngine(library(), plan, RECORD).runtime_precisions()
    assert counts == {"Convolution i8": 2, "Convolution f16": 1}


def test_closing_frees_the_graph_while_the_context_is_current_and_twice_does_no_harm(calls, plan):
    engine = runtime.TensorRtEngine(library(), plan, RECORD)
    calls.clear()
    engine.close()
    engine.close()
    assert calls == ["free graph", "pop"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"opens": False}, "cannot open the engine"), ({"dtype": "float16"}, "not float32")],
)
def test_a_failure_leaves_the_context_and_says_why(calls, plan, options, message):
    with pytest.raises(WorkFailedError, match=message):
        runtime.TensorRtEngine(library(**options), plan, RECORD)
    assert calls == ["push", "pop"]


NO_GPU = not has_nvidia_gpu() or any(
    importlib.util.find_spec(package) is None for package in ("tensorrt", "pycuda")
)


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason="needs an NVIDIA GPU, tensorrt and pycuda")
@pytest.mark.parametrize("precision", [Precision(), Precision(kind="fp16"), INT8])
def test_a_gpu_computes_what_onnx_runtime_computes_and_is_timed(tmp_path, precision):
    import onnxruntime

    gpu = resolve_hardware("tensorrt")
    artefact = untrained_artefact(
        tiny_candidate(precision), num_classes=3, image_size=64, folder=tmp_path / "a", float_format="fp16"
    )
    images = noise_images(1, 64, 7)
    session = onnxruntime.InferenceSession(artefact.onnx, providers=["CPUExecutionProvider"])
    expected = session.run(["boxes", "scores"], {"images": images})
    with open_engine(artefact, gpu) as engine:
        found = engine.infer(images)
        assert sum(engine.runtime_precisions().values()) == 44
    for mine, theirs in zip(found, expected, strict=True):
        assert np.abs(mine - theirs).mean() < 0.02 * np.ptp(theirs)
    measured = measure(artefact, gpu, sampling=Sampling(seconds=0.5))
    assert measured.workload.backend == "tensorrt"
    assert measured.environment["gpu"]["name"]
