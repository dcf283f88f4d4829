"""An engine in another process gives the same numbers, and takes nobody with it."""

import os
import signal

import numpy as np
import psutil
import pytest

from evaluators.accuracy.backends import open_backend
from evaluators.artefact import untrained_artefact
from evaluators.hardware import resolve_hardware
from evaluators.latency import engine_process, open_engine
from evaluators.latency.engine_process import EngineProcess, open_engine_process
from foundation.errors import UserError, WorkFailedError
from tests.evaluators.networks import tiny_candidate

IMAGES = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artefacts") / "tiny"
    return untrained_artefact(tiny_candidate(), num_classes=2, image_size=64, folder=folder)


def child_of(process):
    return psutil.Process(process._child.pid)


def test_the_same_numbers_from_another_process(artefact):
    hardware = resolve_hardware("cpu")
    with open_engine(artefact, hardware, 1) as here:
        expected = here.infer(IMAGES)
    with open_engine_process(artefact, hardware, 1) as there:
        assert there.batch == 1 and child_of(there).pid != os.getpid()
        for _ in range(2):
            for got, wanted in zip(there.infer(IMAGES), expected, strict=True):
                np.testing.assert_array_equal(got, wanted)
        child = child_of(there)
    assert not child.is_running()


def test_a_crash_is_one_line(artefact):
    crashed = pytest.raises(WorkFailedError, match=r"openvino on cpu crashed \(SIGSEGV\)")
    with crashed, open_engine_process(artefact, resolve_hardware("cpu")) as engine:
        os.kill(engine._child.pid, signal.SIGSEGV)
        engine.infer(IMAGES)


def test_a_hang_is_ended(artefact, monkeypatch):
    monkeypatch.setattr(engine_process, "IMAGE_S", 0.5)
    hung = pytest.raises(WorkFailedError, match=r"hung: a pass took over 0\.5 s")
    with hung, open_engine_process(artefact, resolve_hardware("cpu")) as engine:
        child = child_of(engine)
        child.suspend()
        engine.infer(np.zeros((1, 3, 640, 640), np.float32))  # more than a pipe holds
    assert not child.is_running()


def test_errors_keep_their_kind(artefact):
    hardware = resolve_hardware("cpu")
    with pytest.raises(UserError, match="threads is 0"), open_engine_process(artefact, hardware, 0):
        pass
    failed = pytest.raises(WorkFailedError, match="built for")
    with failed, open_engine_process(artefact, hardware) as engine:
        engine.infer(np.zeros((1, 3, 32, 32), np.float32))


def test_accuracy_opens_engines_elsewhere_and_pytorch_here(artefact):
    with open_backend(artefact, "cpu") as engine:
        assert isinstance(engine, EngineProcess)
    with open_backend(artefact, "pytorch") as engine:
        assert not isinstance(engine, EngineProcess)
