import pytest

from evaluators.artefact import untrained_artefact
from evaluators.hardware import resolve_hardware
from evaluators.latency import measure, measurement
from evaluators.latency.measurement import sample, warm_up
from tests.evaluators.networks import tiny_candidate


class FakeDevice:
    """Passes of given durations in seconds, on a clock of its own; the last duration repeats."""

    def __init__(self, *durations):
        self.durations = list(durations)
        self.now = 0.0
        self.passes = 0

    def run(self):
        self.now += self.durations[min(self.passes, len(self.durations) - 1)]
        self.passes += 1

    def clock(self):
        return self.now


def test_warm_up_lasts_until_passes_stop_getting_faster():
    falling = [0.02 * 0.9**i for i in range(20)]
    device = FakeDevice(*falling)
    passes = warm_up(device.run, at_most_seconds=10, clock=device.clock)
    assert passes == pytest.approx([1e3 * device.durations[min(i, 19)] for i in range(device.passes)])
    assert len(passes) >= 18  # still falling before that


def test_warm_up_of_a_steady_device_is_two_blocks():
    device = FakeDevice(0.01)
    assert 10 <= len(warm_up(device.run, at_most_seconds=10, clock=device.clock)) <= 12


def test_warm_up_gives_up_in_time():
    device = FakeDevice(*[0.5**i for i in range(100)])
    warm_up(device.run, at_most_seconds=1.2, clock=device.clock)
    assert device.now < 2


def test_sampling_of_a_steady_device_ends_early():
    device = FakeDevice(0.01)
    samples = sample(device.run, seconds=60, clock=device.clock)
    assert device.now < 1
    assert samples == pytest.approx([10.0] * device.passes)


def test_sampling_of_a_restless_device_ends_with_the_time():
    device = FakeDevice(*[0.01, 0.03] * 1000)
    sample(device.run, seconds=5, clock=device.clock)
    assert 5 <= device.now < 6.5


def test_a_slow_device_still_gives_an_interval():
    device = FakeDevice(4.0)
    assert len(sample(device.run, seconds=1, clock=device.clock)) == 6


def test_a_narrower_interval_takes_longer():
    times = [0.01 + 0.002 * ((7 * i) % 11) / 11 for i in range(3000)]
    wide, narrow = FakeDevice(*times), FakeDevice(*times)
    sample(wide.run, seconds=20, within=0.1, clock=wide.clock)
    sample(narrow.run, seconds=20, within=0.01, clock=narrow.clock)
    assert wide.now < narrow.now < 20


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return untrained_artefact(
        tiny_candidate(), num_classes=3, image_size=64, batch=2, folder=tmp_path_factory.mktemp("a") / "tiny"
    )


def test_a_real_measurement_says_what_and_where(tiny):
    m = measure(tiny, resolve_hardware("cpu"), threads=1, seconds=0.3)
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
    m = measure(tiny, resolve_hardware("cpu"), threads=1, seconds=0.1, engines=2)
    assert len(m.engine_medians_ms) == 2
    assert sum(m.engine_samples) == len(m.samples_ms)
    assert min(m.engine_medians_ms) <= m.median_ms <= max(m.engine_medians_ms)
    assert m.low_ms <= m.median_ms <= m.high_ms


def test_foreign_load_is_reported_beside_the_samples(tiny, monkeypatch):
    monkeypatch.setattr(measurement.ForeignLoad, "disturbance", lambda self: "a noisy neighbour")
    m = measure(tiny, resolve_hardware("cpu"), threads=1, seconds=0.1)
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
    measure(tiny, resolve_hardware("cpu"), threads=1, seconds=0.1)
    assert entered == [True]
