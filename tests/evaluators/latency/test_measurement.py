import pytest

from evaluators.artefact import untrained_artefact
from evaluators.hardware import resolve_hardware
from evaluators.latency import Sampling, measure, measurement
from tests.evaluators.networks import tiny_candidate


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return untrained_artefact(
        tiny_candidate(), num_classes=3, image_size=64, batch=2, folder=tmp_path_factory.mktemp("a") / "tiny"
    )


def test_a_real_measurement_says_what_and_where(tiny):
    m = measure(tiny, resolve_hardware("cpu"), threads=1, sampling=Sampling(seconds=0.3))
    assert m.artefact_hash == tiny.hash
    load = m.workload
    assert (load.image_size, load.batch, load.precision, load.device) == (64, 2, "fp32", "cpu")
    assert m.environment["threads"] == 1
    options = m.environment["openvino_options"]
    assert options["inference_num_threads"] == 1
    assert options["inference_precision_hint"] == "f32"
    assert options["cpu_denormals_optimization"] is True
    assert options["num_streams"] == 1
    assert len(m.warmup_ms) >= 2
    assert m.engine_samples == (len(m.samples_ms),)
    assert len(m.samples_ms) >= 6
    assert 0 < m.low_ms <= m.median_ms <= m.high_ms


def test_several_engines_are_opened_one_after_the_other(tiny):
    m = measure(tiny, resolve_hardware("cpu"), threads=1, sampling=Sampling(seconds=0.1), engines=2)
    assert len(m.engine_medians_ms) == 2
    assert sum(m.engine_samples) == len(m.samples_ms)
    assert min(m.engine_medians_ms) <= m.median_ms <= max(m.engine_medians_ms)
    assert m.low_ms <= m.median_ms <= m.high_ms


def test_foreign_load_is_reported_beside_the_samples(tiny, monkeypatch):
    monkeypatch.setattr(measurement.ForeignLoad, "disturbance", lambda self: "a noisy neighbour")
    m = measure(tiny, resolve_hardware("cpu"), threads=1, sampling=Sampling(seconds=0.1))
    assert m.disturbed
    assert "a noisy neighbour" in m.disturbance


def test_nobody_else_measures_meanwhile(tiny, monkeypatch):
    from evaluators import device_lock

    entered = []
    original = measurement.sample

    def sample_and_look(*arguments, **options):
        entered.append("cpu" in device_lock._held.devices)
        return original(*arguments, **options)

    monkeypatch.setattr(measurement, "sample", sample_and_look)
    measure(tiny, resolve_hardware("cpu"), threads=1, sampling=Sampling(seconds=0.1))
    assert entered == [True]
