"""Temporary folders: gone with their block, and after a kill with the next one made."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from foundation.scratch import Scratch

MAKE = """
import sys, time
from foundation.scratch import Scratch
made = Scratch("test")
(made.path / "weights").write_bytes(b"x" * 1000)
print(made.path, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_a_folder_ends_with_its_block(place):
    with Scratch("test") as folder:
        (folder / "file").write_text("x")
        assert folder.parent == place and "test" in folder.name
    assert not list(place.iterdir())


def test_those_of_the_dead_are_removed_and_those_of_the_living_stay(place):
    living, dead = (
        subprocess.Popen([sys.executable, "-c", MAKE], stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        kept, lost = (process.stdout.readline().strip() for process in (living, dead))
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert Path(lost).is_dir()
        with Scratch("test") as own:
            assert {str(path) for path in place.iterdir()} == {kept, str(own)}
        assert (Path(kept) / "weights").is_file()
    finally:
        for process in (living, dead):
            process.kill()
            process.wait()
            process.stdout.close()


def test_what_is_not_ours_stays(place):
    (place / "yolov6-scratch-file").write_text("no folder")
    (place / "other").mkdir()
    (place / "yolov6-scratch-link").symlink_to(place / "other")
    with Scratch("test"):
        pass
    assert len(list(place.iterdir())) == 3


def test_many_at_once_do_not_sweep_each_other(place):
    problems = []

    def make():
        for _ in range(20):
            with Scratch("test") as folder:
                try:
                    (folder / "file").write_text("x")
                    assert (folder / "file").read_text() == "x"
                except (OSError, AssertionError) as error:
                    problems.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and not list(place.iterdir())
