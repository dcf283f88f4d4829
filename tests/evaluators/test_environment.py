import json

import psutil

from evaluators.environment import environment, physical_cores


def test_names_machine_and_versions_as_json():
    recorded = json.loads(json.dumps(environment()))
    assert recorded["cpu"]
    assert recorded["logical_cores"] == psutil.cpu_count()
    assert set(recorded["versions"]) == {
        "openvino",
        "onnxruntime",
        "torch",
        "onnx",
        "nvidia-modelopt",
        "numpy",
    }
    assert len(recorded["load_average"]) == 3


def test_cores_respect_the_affinity_of_the_process(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else 8)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: [0, 1, 2])
    assert physical_cores() == 3
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: list(range(16)))
    assert physical_cores() == 8
