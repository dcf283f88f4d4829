import json

import pytest

from evaluators.latency import Estimate, Measurement, Workload, joined

LOAD = Workload(image_size=320, batch=1, precision="int8", device="cpu", backend="openvino")


def measurement(samples, **fields):
    return Measurement(samples_ms=tuple(samples), workload=LOAD, **fields)


def test_derived_figures():
    m = measurement([float(i) for i in range(1, 101)])
    assert m.median_ms == 50.5
    assert m.p99_ms == pytest.approx(99.01)
    assert m.spread_ms == pytest.approx(49.5)
    assert m.low_ms <= m.median_ms <= m.high_ms
    assert not m.disturbed


def test_json_round_trip_keeps_everything():
    m = measurement(
        [1.25, 1.5],
        environment={"cpu": "x", "threads": 2},
        artefact_hash="ab",
        warmup_ms=(9.0, 4.0),
        engine_samples=(1, 1),
        disturbance="a neighbour",
    )
    again = Measurement.from_dict(json.loads(json.dumps(m.to_dict())))
    assert again == m
    assert again.disturbed
    assert json.loads(json.dumps(m.summary()))["disturbance"] == "a neighbour"


def test_no_samples_is_no_measurement():
    with pytest.raises(ValueError, match="at least one"):
        measurement([])


def test_an_estimate_cannot_pass_for_a_measurement():
    estimate = Estimate(value_ms=1.0, low_ms=0.5, high_ms=2.0, source="estimated")
    assert not hasattr(estimate, "median_ms")
    assert not hasattr(estimate, "samples_ms")
    assert not hasattr(measurement([1.0]), "value_ms")


def test_several_engines_count_by_their_medians():
    m = measurement([1.0, 1.1, 1.2, 3.0, 3.1, 3.2, 2.0, 2.1], engine_samples=(3, 3, 2))
    assert m.engine_medians_ms == pytest.approx((1.1, 3.1, 2.05))
    assert m.median_ms == pytest.approx(2.05)
    assert m.low_ms < 1.3, "three engines so different leave much open"
    assert m.high_ms > 2.8


def test_joining_keeps_every_sample_and_reason():
    one = measurement([1.0, 2.0], warmup_ms=(5.0,), disturbance="a neighbour")
    two = measurement([3.0], engine_samples=(1,), disturbance="a neighbour")
    m = joined([one, two])
    assert (m.samples_ms, m.warmup_ms, m.engine_samples) == ((1.0, 2.0, 3.0), (5.0,), (2, 1))
    assert m.disturbance == "a neighbour"
    with pytest.raises(ValueError, match="one artefact"):
        joined([one, measurement([3.0], artefact_hash="another")])
    with pytest.raises(ValueError, match="one artefact"):
        joined([])


def test_samples_must_be_those_of_the_engines():
    with pytest.raises(ValueError, match="not those of engines"):
        measurement([1.0, 2.0], engine_samples=(1,))
