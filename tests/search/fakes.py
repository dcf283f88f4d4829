"""A world without training: latency and AP are functions of a candidate's cost."""

from typing import Any

from search.roles import JudgementError
from search.stages import TrainJob
from yolov6space.candidate import Candidate
from yolov6space.cost import cost

SIZE, CLASSES = 320, 3
ENVIRONMENT = {"cpu": "a fake one"}


def gflops(candidate: Candidate) -> float:
    """Cost of a candidate in this world."""
    return cost(candidate.model, num_classes=CLASSES, image_size=SIZE).flops / 1e9


def latency_ms(candidate: Candidate) -> float:
    """int8 is three times faster."""
    return 1.0 + gflops(candidate) * (1.5 if candidate.precision.kind == "int8" else 4.5)


def ap(candidate: Candidate, epochs: int) -> float:
    """Larger and longer is better, and saturates."""
    size = gflops(candidate)
    return 0.8 * size / (size + 1.0) * epochs / (epochs + 5.0)


def measurement(candidate: Candidate) -> dict[str, Any]:
    """What `Measurement.to_dict` would say."""
    center = latency_ms(candidate)
    return {
        "samples_ms": [center * factor for factor in (0.99, 1.0, 1.0, 1.0, 1.01)],
        "workload": {
            "image_size": SIZE,
            "batch": 1,
            "precision": candidate.precision.kind,
            "device": "cpu",
            "backend": "openvino",
        },
        "environment": ENVIRONMENT,
        "artefact_hash": None,
        "warmup_ms": [12.0, 11.0, 10.0],
        "disturbance": None,
    }


class FakeJudge:
    """Measures in no time and counts how often it was asked; fails for the keys it is told to."""

    def __init__(self, broken: frozenset[str] = frozenset()) -> None:
        self.asked: list[str] = []
        self._broken = broken

    def __call__(self, candidate: dict[str, Any]) -> dict[str, Any]:
        one = Candidate.from_dict(candidate)
        self.asked.append(one.key)
        if one.key in self._broken:
            raise JudgementError("the compiler crashed")
        return measurement(one)


def trained(job: TrainJob, *, better: bool = True) -> dict[str, Any]:
    """What `train_and_deploy` would return."""
    candidate = Candidate.from_dict(job.candidate)
    epochs = job.epochs + job.epochs_before
    value = ap(candidate, epochs) if better else 0.0
    part: dict[str, Any] = {}
    if job.ap_to_beat is not None and value < 0.9 * job.ap_to_beat:
        part = {"images": 24, "of_images": 160, "ap_low": value - 0.02, "ap_high": value + 0.02}
    told = {
        "figures": {"AP": value, "AP50": min(1.0, 1.3 * value)},
        "protocol": {"data": "fake", "epochs": epochs, **part},
        "seconds": 2.0,
        "epochs": epochs,
    }
    return {
        "trained": told,
        "deployed": told,
        "measurement": measurement(candidate),
        "artefact": {
            "hash": f"{candidate.key}-{epochs}",
            "path": f"/nowhere/{candidate.key}",
            "size_bytes": 1,
        },
        "images_seen": 100 * job.epochs,
        "training_seconds": 0.01 * gflops(candidate) * 100 * job.epochs,
    }


class SilentView:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def event(self, message: str) -> None:
        self.events.append(message)

    def training(self, trial: object, progress: object) -> None:
        self.events.append("training")
