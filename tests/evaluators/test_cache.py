import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from evaluators.cache import LIMIT_VARIABLE, Cache, default_cache
from foundation.errors import UserError

MIB = 2**20


def writing(size, calls=None, name="engine"):
    def build(folder):
        if calls is not None:
            calls.append(folder)
        (folder / name).write_bytes(bytes(size))

    return build


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", 10 * MIB)


def test_an_entry_is_built_once_and_kept(cache):
    calls = []
    for _ in range(3):
        with cache.entry("a", writing(10, calls)) as folder:
            assert (folder / "engine").read_bytes() == bytes(10)
    assert len(calls) == 1
    assert cache.keys() == ["a"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "add", "remove", "contents"])
def test_a_damaged_entry_is_noticed_and_built_again(cache, damage):
    with cache.entry("a", writing(10)) as folder:
        pass
    file = folder / "engine"
    if damage == "flip":
        file.write_bytes(bytes(9) + b"x")
    elif damage == "truncate":
        file.write_bytes(bytes(9))
    elif damage == "add":
        (folder / "stranger").touch()
    elif damage == "remove":
        file.unlink()
    else:
        (folder / "contents.json").write_text("{")
    assert cache.damaged() == ["a"]
    with cache.entry("a", writing(10)) as folder:
        assert (folder / "engine").read_bytes() == bytes(10)
    assert cache.damaged() == []


def test_a_failed_build_leaves_nothing(cache):
    def build(folder):
        (folder / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"), cache.entry("a", build):
        pass
    assert cache.keys() == []
    assert not list((cache.folder / ".building").iterdir())


def test_an_error_of_the_user_of_an_entry_reaches_him(cache):
    with pytest.raises(FileNotFoundError, match="mine"), cache.entry("a", writing(1)):
        raise FileNotFoundError("mine")


def test_what_was_used_longest_ago_is_evicted(cache):
    for index, key in enumerate("abc"):
        with cache.entry(key, writing(3 * MIB)) as folder:
            pass
        os.utime(folder / "contents.json", (index, index))
    with cache.entry("a", writing(3 * MIB)):  # used again: now the newest
        pass
    with cache.entry("d", writing(3 * MIB)):
        pass
    assert cache.keys() == ["c", "a", "d"]


def test_an_entry_in_use_and_one_larger_than_the_limit_stay(cache):
    with cache.entry("a", writing(3 * MIB)) as used, cache.entry("huge", writing(20 * MIB)) as huge:
        assert (used / "engine").exists()
        assert (huge / "engine").exists()
    with cache.entry("b", writing(1)):
        pass
    assert cache.keys() == ["b"]


def test_threads_that_want_the_same_entry_build_it_once(cache):
    calls = []

    def build(folder):
        time.sleep(0.05)
        writing(10, calls)(folder)

    def use():
        with cache.entry("a", build):
            pass

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


BUILDER = """
import sys, os
from pathlib import Path
from evaluators.cache import Cache
cache = Cache(Path(sys.argv[1]), 3_000_000)
def build(folder):
    for name in range(20):
        (folder / str(name)).write_bytes(os.urandom(50_000))
number = 0
while True:
    with cache.entry(f"k{number % 5}", build):
        number += 1
    print(number, flush=True)
"""


def test_killing_builders_at_any_moment_leaves_no_damaged_entry(tmp_path):
    """Two builders at a time, over few keys with eviction, so that all three meet."""
    folder = tmp_path / "cache"
    for attempt in range(1, 7):
        builders = [
            subprocess.Popen([sys.executable, "-c", BUILDER, folder], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        for builder in builders:
            for _ in range(attempt):  # so many entries, then somewhere in the next
                builder.stdout.readline()
        time.sleep(0.003 * attempt)
        for builder in builders:
            builder.send_signal(signal.SIGKILL)
            builder.communicate()
        assert Cache(folder, 3_000_000).damaged() == []
    survivor = Cache(folder, 3_000_000)
    assert survivor.keys()
    with survivor.entry("k9", writing(10)):
        pass
    assert not list((folder / ".building").iterdir())  # what the dead left is swept


@pytest.mark.parametrize("key", ["", ".", "../a", "a/b", ".locks"])
def test_keys_cannot_leave_the_folder(cache, key):
    with pytest.raises(ValueError, match="no key"), cache.entry(key, writing(1)):
        pass


@pytest.mark.parametrize("size", ["0", "-1", "much", "nan", "inf"])
def test_an_impossible_size_limit(monkeypatch, size):
    monkeypatch.setenv(LIMIT_VARIABLE, size)
    with pytest.raises(UserError, match=LIMIT_VARIABLE):
        default_cache()


def test_the_default_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("YOLOV6_SEARCH_CACHE", str(tmp_path))
    monkeypatch.setenv(LIMIT_VARIABLE, "0.5")
    assert default_cache().folder == tmp_path / "built"
    assert default_cache().limit_bytes == 2**29
