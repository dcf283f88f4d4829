from evaluators.latency.bound import lower_bound_ms

MEASURED = [(1e9, 2.0), (2e9, 3.0), (4e9, 10.0)]  # best pace 1.5 ms per GFLOP, worst 2.5


def test_bound_from_the_best_throughput():
    estimate = lower_bound_ms(10e9, MEASURED, safety=2.0)
    assert estimate.value_ms == 15.0
    assert estimate.low_ms == 7.5
    assert estimate.high_ms == 25.0
    assert "estimated" in estimate.source


def test_never_above_what_was_measured():
    for flops, ms in MEASURED:
        assert lower_bound_ms(flops, MEASURED).low_ms <= ms


def test_too_little_is_known():
    assert lower_bound_ms(1e9, MEASURED[:2]) is None
    assert lower_bound_ms(1e9, [(0.0, 1.0)] * 5) is None
