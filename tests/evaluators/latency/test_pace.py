import json

import pytest

from evaluators.latency import pace as module
from evaluators.latency.pace import SLOWER, Pace, processor_pace


def readings(tmp_path, *values, memory="pace.json"):
    """Of two pieces of work, the second always the same."""
    pace = Pace(iter([(value, 4.0) for value in values]).__next__, tmp_path / memory)
    return pace, [pace.is_slow() for _ in values]


def test_the_first_reading_ever_is_the_best_known(tmp_path):
    assert readings(tmp_path, 2.0)[1] == [False]


def test_slow_is_slower_than_the_best_of_the_run(tmp_path):
    _, slow = readings(tmp_path, *[1.0] * 6, 0.99 * SLOWER, 1.01 * SLOWER, 1.0)
    assert slow == [False] * 7 + [True, False]


def test_a_run_that_is_slow_throughout_is_known_from_an_earlier_one(tmp_path):
    readings(tmp_path, *[1.0] * 8)[0].remember()
    pace, slow = readings(tmp_path, *[1.5] * 8)
    assert slow == [True] * 8
    assert pace.slowdown == pytest.approx(1.5)
    pace.remember()  # does not spoil what is known
    assert readings(tmp_path, 1.5)[1] == [True]


def test_one_core_meets_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    with processor_pace(1) as pace:
        pace.is_slow()
    assert [len(reading) for reading in pace.readings] == [2]


def test_one_lucky_reading_is_not_the_best(tmp_path):
    readings(tmp_path, 0.2, *[1.0] * 30)[0].remember()
    assert readings(tmp_path, 1.0)[1] == [False]


def test_a_short_run_leaves_nothing_behind(tmp_path):
    readings(tmp_path, 0.5, 0.5)[0].remember()
    assert not (tmp_path / "pace.json").exists()


def test_yesterday_is_forgotten(tmp_path, monkeypatch):
    readings(tmp_path, *[1.0] * 8)[0].remember()
    now = module.time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 3600 * (module.REMEMBERED_HOURS + 1))
    assert readings(tmp_path, 1.5)[1] == [False]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        '{"x": 1}',
        '{"9999999": "y"}',
        '{"9999999": [1], "9999998": [1, 2]}',
        "{}",
        json.dumps({"9999999": [-1, -1]}),
        json.dumps({"9999999": [0.1, 0.1, 0.1]}),  # of another version, which looked at more
    ],
)
def test_a_damaged_memory_is_none(tmp_path, text):
    (tmp_path / "pace.json").write_text(text)
    assert readings(tmp_path, 1.5)[1] == [False]


def test_a_memory_that_cannot_be_written_is_none(tmp_path):
    readings(tmp_path, *[1.0] * 8, memory="missing/pace.json")[0].remember()


def test_the_real_processor_is_read_and_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    with processor_pace(2) as pace:
        for _ in range(6):
            pace.is_slow()
    assert len(pace.readings) == 6 and {len(reading) for reading in pace.readings} == {3}
    assert min(map(min, pace.readings)) > 0 and pace.slowdown >= 1
    assert len(list(tmp_path.glob("*2-threads*.json"))) == 1
