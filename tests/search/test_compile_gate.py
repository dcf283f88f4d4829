import pytest

from evaluators.hardware import Hardware, resolve_hardware
from foundation.errors import WorkFailedError
from search import compile_gate
from search.compile_gate import compile_untrained, gate_of
from tests.evaluators.networks import INT8, tiny_candidate
from tests.search.test_measuring import BENCH
from yolov6space.candidate import Precision

T4 = Hardware(name="t4", device="Tesla T4", backend="estimate", reason="", default_image_size=640)


class Judge:
    def compiles(self, candidate):
        pass


def test_only_an_nvidia_device_that_is_not_here_has_a_gate(monkeypatch):
    judge = Judge()
    assert gate_of(resolve_hardware("cpu"), judge) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert gate_of(T4, judge) == judge.compiles


def test_a_missing_compiler_is_said_with_the_remedy(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert gate_of(T4, Judge()) is None
    assert "not checked with NVIDIA's compiler; pip install tensorrt-rtx" in capsys.readouterr().err


@pytest.fixture
def two_classes(monkeypatch, tmp_path):
    monkeypatch.setattr(compile_gate, "class_count", lambda bench: 2)
    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path))


def test_what_the_compiler_takes_passes(two_classes):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (pip install tensorrt-rtx)")
    compile_untrained(tiny_candidate(INT8), BENCH)


def test_what_the_compiler_refuses_does_not(two_classes, monkeypatch):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (pip install tensorrt-rtx)")

    def broken(source, target):  # a graph in which one node is unknown to everybody
        import onnx

        model = onnx.load(str(source))
        model.graph.node[0].op_type = "Frobnicate"
        onnx.save(model, str(target))

    monkeypatch.setattr("evaluators.graphs.half.write_half", broken)
    with pytest.raises(WorkFailedError, match=r"refuses the graph: node .*Frobnicate"):
        compile_untrained(tiny_candidate(Precision(kind="fp16")), BENCH)
