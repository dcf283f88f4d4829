"""Order and exclusion, with real processes and threads; events instead of clocks."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from evaluators.device_lock import measuring, working

HOLD = """
import sys
from evaluators import device_lock
with getattr(device_lock, sys.argv[1])(sys.argv[2]):
    print("in", flush=True)
    sys.stdin.readline()
print("out", flush=True)
"""


@pytest.fixture
def device(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return "test/device 0"


class Holder:
    """Another process that wants the device."""

    def __init__(self, kind, device):
        command = [sys.executable, "-c", HOLD, kind, device]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
        )

    def wait_inside(self):
        assert self.process.stdout.readline() == "in\n"
        return self

    def leave(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "out\n"
        self._close()
        assert self.process.wait(30) == 0

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self._close()

    def _close(self):
        self.process.stdin.close()
        self.process.stdout.close()


def enter_in_thread(kind, device):
    """A thread that enters; the event tells when it is inside."""
    inside = threading.Event()

    def run():
        with kind(device):
            inside.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, inside


def test_work_is_shared_among_processes(device):
    first, second = Holder("working", device).wait_inside(), Holder("working", device).wait_inside()
    first.leave()
    second.leave()


@pytest.mark.parametrize(
    ("held", "wanted"), [("measuring", measuring), ("measuring", working), ("working", measuring)]
)
def test_a_measurement_excludes_everything_else(device, held, wanted):
    holder = Holder(held, device).wait_inside()
    thread, inside = enter_in_thread(wanted, device)
    assert not inside.wait(0.3)
    holder.leave()
    assert inside.wait(30)
    thread.join(30)


def test_devices_do_not_wait_for_each_other(device):
    holder = Holder("measuring", device).wait_inside()
    with measuring("another device"):
        pass
    holder.leave()


def test_the_kernel_releases_the_lock_of_a_killed_process(device):
    holder = Holder("measuring", device).wait_inside()
    thread, inside = enter_in_thread(measuring, device)
    holder.kill()
    assert inside.wait(30)
    thread.join(30)


def test_new_work_lets_a_waiting_measurement_go_first(device):
    order = []
    first = Holder("working", device).wait_inside()
    measurer_waits = threading.Event()

    def measure():
        measurer_waits.set()
        with measuring(device):
            order.append("measure")

    def work():
        with working(device):
            order.append("work")

    measurer = threading.Thread(target=measure, daemon=True)
    measurer.start()
    measurer_waits.wait(30)
    _until_turnstile_is_shut(device)
    workers = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert order == []
    first.leave()
    for thread in (measurer, *workers):
        thread.join(30)
    assert order == ["measure", "work", "work", "work"]


def _until_turnstile_is_shut(device):
    import fcntl

    from evaluators import device_lock

    path = device_lock._path(device, "turnstile")
    while True:
        if path.exists():
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return


def test_threads_of_one_process_exclude_each_other(device):
    inside, most = 0, 0
    guard = threading.Lock()

    def run():
        nonlocal inside, most
        for _ in range(20):
            with measuring(device):
                with guard:
                    inside += 1
                    most = max(most, inside)
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1
    assert inside == 0


def test_waiting_for_oneself_is_an_error_and_not_a_standstill(device):
    with working(device), pytest.raises(RuntimeError, match="nested"), measuring(device):
        pass
    with measuring(device):  # usable again afterwards
        pass


def test_released_when_the_block_fails(device):
    with pytest.raises(KeyError), measuring(device):
        raise KeyError
    with measuring(device):
        pass
