import pytest

from evaluators.latency.foreign_load import ForeignLoad


@pytest.fixture
def read(monkeypatch):
    """Two readings of (wall, busy, own, stolen) in seconds on a machine of four cores."""

    def between(now):
        readings = iter([(0.0, 0.0, 0.0, 0.0), now])
        monkeypatch.setattr("psutil.cpu_count", lambda: 4)
        monkeypatch.setattr(ForeignLoad, "_read", staticmethod(lambda: next(readings)))

    return between


@pytest.mark.parametrize(
    ("threads", "now", "expected"),
    [
        (4, (10.0, 40.0, 40.0, 0.0), None),
        (4, (10.0, 40.0, 30.0, 0.0), "used 1.0 cores"),
        (2, (10.0, 30.0, 20.0, 0.0), None),  # they used a core that we left free
        (2, (10.0, 40.0, 15.0, 0.0), "used 2.5 cores"),
        (4, (10.0, 40.0, 40.0, 8.0), "withheld 0.8 cores"),
        (4, (10.0, 39.0, 40.0, 0.0), None),  # clocks of different grain
        (4, (0.0, 0.0, 0.0, 0.0), None),
    ],
)
def test_who_took_the_time(read, threads, now, expected):
    read(now)
    reason = ForeignLoad(threads).disturbance()
    assert (reason is None) if expected is None else expected in reason


def test_real_counters_go_forward():
    first, second = ForeignLoad._read(), ForeignLoad._read()
    assert len(first) == 4
    assert all(after >= before for before, after in zip(first, second, strict=True))
