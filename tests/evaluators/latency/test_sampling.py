import pytest

from evaluators.latency.sampling import PATIENCE, Sampling, sample, warm_up


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
    passes = warm_up(device.run, at_most_seconds=10, clock=device.clock, wall=device.clock)
    assert passes == pytest.approx([1e3 * device.durations[min(i, 19)] for i in range(device.passes)])
    assert len(passes) >= 18  # still falling before that


def test_warm_up_of_a_steady_device_is_two_blocks():
    device = FakeDevice(0.01)
    assert 10 <= len(warm_up(device.run, at_most_seconds=10, clock=device.clock, wall=device.clock)) <= 12


def test_warm_up_gives_up_in_time():
    device = FakeDevice(*[0.5**i for i in range(100)])
    warm_up(device.run, at_most_seconds=1.2, clock=device.clock, wall=device.clock)
    assert device.now < 2


def test_sampling_of_a_steady_device_ends_early():
    device = FakeDevice(0.01)
    samples = sample(device.run, Sampling(seconds=60), clock=device.clock, wall=device.clock).samples_ms
    assert device.now < 1
    assert samples == pytest.approx([10.0] * device.passes)


def test_sampling_of_a_restless_device_ends_with_the_time():
    device = FakeDevice(*[0.01, 0.03] * 1000)
    sample(device.run, Sampling(seconds=5), clock=device.clock, wall=device.clock)
    assert 5 <= device.now < 6.5


def test_a_slow_device_still_gives_an_interval():
    device = FakeDevice(4.0)
    assert len(sample(device.run, Sampling(seconds=1), clock=device.clock, wall=device.clock).samples_ms) == 6


def test_a_narrower_interval_takes_longer():
    times = [0.01 + 0.002 * ((7 * i) % 11) / 11 for i in range(3000)]
    wide, narrow = FakeDevice(*times), FakeDevice(*times)
    sample(wide.run, Sampling(seconds=20, within=0.1), clock=wide.clock, wall=wide.clock)
    sample(narrow.run, Sampling(seconds=20, within=0.01), clock=narrow.clock, wall=narrow.clock)
    assert wide.now < narrow.now < 20


def test_pauses_between_passes_count_in_the_time_and_not_in_the_samples():
    """A GPU times its passes by events, and knows nothing of `--gap-ms`."""
    gpu, wall = FakeDevice(0.002), FakeDevice(0.102)

    def run():
        gpu.run()
        wall.run()

    warm_up(run, at_most_seconds=1.5, clock=gpu.clock, wall=wall.clock)
    assert wall.now < 2
    samples = sample(run, Sampling(seconds=3, within=0), clock=gpu.clock, wall=wall.clock).samples_ms
    assert samples == pytest.approx([2.0] * len(samples))
    assert wall.now < 6


class FakeProcessor:
    """Slow in the given spans of the device's clock."""

    def __init__(self, device, *slow):
        self.device, self.slow = device, slow

    def is_slow(self):
        return any(start <= self.device.now < end for start, end in self.slow)


class Slowed(FakeDevice):
    """Takes 10 ms, and 15 ms while its processor is slow."""

    def __init__(self, *slow):
        super().__init__(0.01)
        self.processor = FakeProcessor(self, *slow)

    def run(self):
        self.now += 0.015 if self.processor.is_slow() else 0.01


def sampled_on(device, sampling):
    return sample(device.run, sampling, clock=device.clock, wall=device.clock, processor=device.processor)


def test_passes_on_a_slow_processor_do_not_count():
    device = Slowed((0, 0.3), (0.5, 0.75))
    sampled = sampled_on(device, Sampling(seconds=1, within=0))
    assert sampled.samples_ms == pytest.approx([10.0] * len(sampled.samples_ms))
    assert sampled.left_out > 20 and not sampled.slow
    assert sum(sampled.samples_ms) >= 450


def test_a_processor_that_stays_slow_is_waited_for_and_then_said():
    device = Slowed((0, 1e9))
    sampled = sampled_on(device, Sampling(seconds=1))
    assert sampled.slow and sampled.left_out == 0
    assert sampled.samples_ms == pytest.approx([15.0] * len(sampled.samples_ms))
    assert PATIENCE <= device.now < PATIENCE + 0.3


def test_whoever_is_patient_gets_the_calm_processor():
    """Minutes of a slow one, with default patience, are the slow one's figure: see the test above."""
    device = Slowed((0, 40))
    sampled = sampled_on(device, Sampling(seconds=1, patience=60))
    assert not sampled.slow and sampled.left_out > 2000
    assert sampled.samples_ms == pytest.approx([10.0] * len(sampled.samples_ms))
    assert device.now < 42


def test_too_little_of_a_calm_processor_does_not_stand_for_the_run():
    device = Slowed((0.25, 1e9))
    sampled = sampled_on(device, Sampling(seconds=1))
    assert sampled.slow
    assert max(sampled.samples_ms) == pytest.approx(15.0)


def test_a_calm_processor_changes_nothing():
    watched, alone = Slowed(), FakeDevice(0.01)
    first = sampled_on(watched, Sampling(seconds=5))
    second = sample(alone.run, Sampling(seconds=5), clock=alone.clock, wall=alone.clock)
    assert first.samples_ms == pytest.approx(second.samples_ms)
    assert not first.slow and first.left_out == 0
