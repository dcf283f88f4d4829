"""`python -m storage`, as a person runs it."""

import json
import subprocess
import sys

from storage import Repository
from storage.database import head_version
from tests.storage.demo import seed_demo


def storage(*arguments):
    command = [sys.executable, "-m", "storage", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_upgrade_then_check_then_release(sqlite_url):
    done = storage("upgrade", "--storage", sqlite_url, "--json")
    assert json.loads(done.stdout)["before"] is None
    assert "already" in storage("upgrade", "--storage", sqlite_url).stdout
    with Repository.open(sqlite_url) as repository:
        study = seed_demo(repository, trials=8)
        repository.hold_study(study.id, "gone:1:2.00")
    told = json.loads(storage("check", "--storage", sqlite_url, "--json").stdout)
    assert told["version"] == head_version()
    assert told["checked"] == "pages and references are sound"
    assert sum(told["studies"][0]["trials"].values()) == 8
    freed = storage("release", "--storage", sqlite_url, "--study", "demo")
    assert (freed.returncode, "process 1 on gone" in freed.stderr) == (0, True)
    with Repository.open(sqlite_url) as repository:
        assert repository.get_study("demo").driver_owner is None


def test_mistakes_are_one_line_and_code_2(tmp_path):
    missing = storage("check", "--storage", f"sqlite:///{tmp_path}/none.db")
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1 and missing.stderr.startswith("error: there is no database")
    unreachable = storage("upgrade", "--storage", "postgresql://bob:hunter2@127.0.0.1:1/db")
    assert unreachable.returncode == 2
    assert "hunter2" not in unreachable.stderr + unreachable.stdout
    assert unreachable.stderr.count("\n") == 1
