import errno
import json
from dataclasses import replace

import numpy as np
import pytest

from evaluators.estimate import calibration_file
from evaluators.estimate.calibration_file import device_identity, path_for, read_calibration
from evaluators.estimate.case import Case
from evaluators.estimate.cpu_time import PARAMETERS, CpuTime
from evaluators.estimate.design import most_telling, pool_of
from evaluators.estimate.device import calibrate, cross_validate, device_estimator, samples_for
from evaluators.estimate.fit import prior_of
from evaluators.hardware import resolve_hardware
from evaluators.latency import Measurement, Workload
from foundation.errors import UserError
from yolov6space.candidate import Precision
from yolov6space.space import Space
from yolov6space.variants import get

SIZE = {"image_size": 320, "batch": 1, "classes": 80}
CPU = resolve_hardware("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path))


class Device:
    """A CPU whose constants are far from the priors, and whose latencies scatter by 2 %."""

    def __init__(self, disturbed=()):
        self.rng = np.random.default_rng(0)
        self.measured = []
        self.disturbed = disturbed
        shift = np.random.default_rng(1).normal(size=len(PARAMETERS))
        truth = [p.prior * np.exp(0.5 * p.freedom * one) for p, one in zip(PARAMETERS, shift, strict=True)]
        self.values = {p.name: np.array([[value]]) for p, value in zip(PARAMETERS, truth, strict=True)}

    def ms(self, candidate):
        case = Case(model=candidate.model, precision=candidate.precision, image_size=320)
        return float(CpuTime().milliseconds(self.values, case)[0])

    def measure(self, candidate):
        self.measured.append(candidate.key)
        samples = self.ms(candidate) * np.exp(0.02 * self.rng.normal()) * np.ones(10)
        return Measurement(
            samples_ms=tuple(samples.tolist()),
            workload=Workload(image_size=320, batch=1, precision="fp32", device="cpu", backend="openvino"),
            disturbance="a neighbour" if len(self.measured) in self.disturbed else None,
        )


def test_fp16_has_a_time_on_a_device():
    device = Device()
    [candidate] = samples_for(Space.default(), ("fp32",), 1, **SIZE)
    half = replace(candidate, precision=Precision(kind="fp16"))
    assert 0 < device.ms(half) < device.ms(candidate)


def test_two_calibrations_at_once_keep_the_samples_of_both():
    device, other = Device(), Device()
    first, second = samples_for(Space.default(), ("fp32",), 2, **SIZE)

    def measure(candidate):
        if candidate is first:  # the other one starts and ends meanwhile
            calibrate(CPU, [second], other.measure, **SIZE)
        return device.measure(candidate)

    known = calibrate(CPU, [first], measure, **SIZE)
    assert len(known.measured) == len(read_calibration(device_identity(CPU)).measured) == 2


def test_twenty_measurements_of_a_device_estimate_the_whole_space():
    device = Device()
    chosen = samples_for(Space.default(), ("fp32", "int8"), 20, **SIZE)
    known = calibrate(CPU, chosen, device.measure, **SIZE)
    estimator = device_estimator(CPU)
    others = [one for one in pool_of(Space.default(), ("fp32", "int8"), seed=9)[:100] if one not in chosen]
    cases = [Case(model=one.model, precision=one.precision, image_size=320) for one in others]
    found = [estimator.estimate(case) for case in cases]
    told = np.array([device.ms(one) for one in others])
    errors = np.abs(np.array([one.value_ms for one in found]) / told - 1)
    assert errors.mean() <= 0.06
    assert np.mean([one.low_ms <= ms <= one.high_ms for one, ms in zip(found, told, strict=True)]) >= 0.8
    checked = cross_validate(known.observations)
    assert checked.samples == 20
    assert checked.spearman > 0.97
    assert "20 candidates measured here" in found[0].source
    unusual = estimator.estimate(replace(cases[0], batch=2))
    assert unusual.high_ms / unusual.value_ms > found[0].high_ms / found[0].value_ms


def test_a_calibration_continues_and_repeats_only_what_was_disturbed():
    chosen = samples_for(Space.default(), ("fp32", "int8"), 10, **SIZE)
    first = Device(disturbed=(2,))
    calibrate(CPU, chosen[:9], first.measure, **SIZE)
    second = Device()
    known = calibrate(CPU, chosen, second.measure, **SIZE)
    assert second.measured == [chosen[9].key, chosen[1].key]
    assert len(known.measured) == 10
    assert read_calibration(known.device).observations == known.observations
    again = Device()
    calibrate(CPU, chosen, again.measure, **SIZE)
    assert again.measured == []


def test_the_samples_tell_more_than_random_ones():
    pool = pool_of(Space.default(), ("fp32", "int8"), seed=0)
    cases = [Case(model=one.model, precision=one.precision, image_size=320) for one in pool]
    prior = prior_of(CpuTime())

    def doubt_left(indices):
        slopes = np.array([prior.slopes(cases[index]) for index in indices]) / 0.03
        return -np.linalg.slogdet(np.linalg.inv(prior.covariance) + slopes.T @ slopes)[1]

    chosen = most_telling(CpuTime(), cases, 20)
    assert len(set(chosen)) == 20
    assert {pool[index].precision.kind for index in chosen} == {"fp32", "int8"}
    rng = np.random.default_rng(0)
    assert all(
        doubt_left(chosen) < doubt_left(rng.choice(len(pool), 20, replace=False)) - 3 for _ in range(20)
    )


def test_a_device_that_was_not_calibrated_has_no_estimator():
    assert device_estimator(CPU) is None
    chosen = samples_for(Space.default(), ("fp32", "int8"), 5, **SIZE)
    calibrate(CPU, chosen, Device().measure, **SIZE)
    assert device_estimator(CPU) is None, "five measurements are no calibration"
    assert device_estimator(CPU, threads=97) is None


def test_a_spoilt_file_is_told(monkeypatch):
    path = path_for(device_identity(CPU))
    path.parent.mkdir(parents=True)
    for text in (
        "{",
        "[]",
        json.dumps({"format": 99}),
        json.dumps({"format": 1, "device": {}, "measured": [3]}),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match="calibrate again"):
            device_estimator(CPU)
    monkeypatch.setattr(calibration_file, "physical_cores", lambda: 61)
    assert device_estimator(CPU) is None


def test_physics_of_a_cpu():
    def ms(name, kind="fp32", floats=0, **changes):
        int8 = {"scheme": "ptq", "float_layers": floats, "metric": "mse" if floats else None}
        precision = Precision(kind=kind, **(int8 if kind == "int8" else {}))
        return prior_of(CpuTime()).milliseconds(Case(model=get(name).model, precision=precision, **changes))

    assert ms("N") < ms("S") < ms("M") < ms("L-ReLU") < ms("L")
    assert ms("S", "int8") < ms("S", "int8", 10) < ms("S")
    assert ms("S", image_size=320) < ms("S") < ms("S", batch=2)


def test_a_kill_or_a_full_disk_while_writing_leaves_what_was_known(monkeypatch):
    device = Device()
    first, second = samples_for(Space.default(), ("fp32",), 8, **SIZE)[:2]
    calibrate(CPU, [first], device.measure, **SIZE)
    path = path_for(device_identity(CPU))
    before = path.read_bytes()
    killed = path.with_name(f".{path.name}.123")
    killed.write_text('{"format": 1, "dev')  # half a file, of a writer that was killed

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(calibration_file.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            calibrate(CPU, [second], device.measure, **SIZE)
    assert path.read_bytes() == before
    calibrate(CPU, [second], device.measure, **SIZE)
    assert len(read_calibration(device_identity(CPU)).measured) == 2
    assert {one.name for one in path.parent.iterdir()} == {path.name, path.with_suffix(".lock").name}


def test_what_is_not_known_comes_before_what_was_disturbed():
    device = Device(disturbed=(1, 2))
    candidates = samples_for(Space.default(), ("fp32",), 8, **SIZE)
    calibrate(CPU, candidates[:3], device.measure, **SIZE)  # killed after three
    numbers = []
    calibrate(
        CPU,
        candidates[:5],
        device.measure,
        **SIZE,
        on_measured=lambda number, *_: numbers.append(number),
    )
    assert numbers == [4, 5, 1, 2]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("median_ms", 0.0),
        ("median_ms", float("nan")),
        ("median_ms", "8"),
        ("median_ms", None),
        ("low_ms", 0.0),
        ("low_ms", float("inf")),
        ("high_ms", -1.0),
        ("high_ms", float("inf")),
        ("image_size", 33),
        ("image_size", 1.5),
        ("batch", -1),
        ("batch", "1"),
        ("classes", 0),
        ("classes", None),
        ("candidate", None),
        ("candidate", {}),
        ("unheard_of", 1),
    ],
)
def test_a_damaged_row_is_told_with_its_file(field, value):
    device = Device()
    identity = device_identity(CPU)
    calibrate(CPU, samples_for(Space.default(), ("fp32",), 2, **SIZE), device.measure, **SIZE)
    told = json.loads(path_for(identity).read_text())
    told["measured"][1][field] = value
    path_for(identity).write_text(json.dumps(told))
    with pytest.raises(UserError, match=r"not a calibration .*delete it and calibrate again") as refused:
        read_calibration(identity)
    assert str(path_for(identity)) in str(refused.value)


def test_a_calibration_of_another_device_is_refused():
    calibrate(CPU, samples_for(Space.default(), ("fp32",), 1, **SIZE), Device().measure, **SIZE)
    path = path_for(device_identity(CPU))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"device": {}}))
    with pytest.raises(UserError, match="another device"):
        read_calibration(device_identity(CPU))
