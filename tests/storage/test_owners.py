"""Who is alive: real processes."""

import socket
import subprocess
import sys
import time

from storage.owners import Owner, describe_owner, owner_alive, parse_owner, this_owner


def test_this_process_is_alive_and_says_who_it_is():
    owner = this_owner()
    assert owner_alive(owner)
    assert this_owner() == owner
    assert parse_owner(owner).host == socket.gethostname()


def test_a_dead_process_is_dead_and_its_number_is_not_enough():
    code = "from storage.owners import this_owner; print(this_owner(), flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        owner = child.stdout.readline().strip()
        assert owner_alive(owner)
        parsed = parse_owner(owner)
        recycled = Owner(parsed.host, parsed.pid, parsed.create_time - 60)
        assert not owner_alive(str(recycled))
        child.kill()
        # a killed child that nobody has waited for is a zombie: its number is taken, but it does no work
        while owner_alive(owner):
            time.sleep(0.01)
    assert not owner_alive(owner)


def test_other_machines_get_the_benefit_of_the_doubt():
    assert owner_alive("elsewhere.example:1:2.00")


def test_nonsense_is_not_alive():
    assert not owner_alive("nobody")
    assert describe_owner("nobody") == "nobody"
    assert describe_owner("node-3:17:5.00") == "process 17 on node-3"
