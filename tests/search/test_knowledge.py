"""What a stored trial says to the sampler."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from search.knowledge import read_known
from storage import Origin, Repository
from storage.front import best_feasible
from tests.storage.demo import seed_demo
from yolov6space.space import Space


def test_an_ap_of_a_part_of_the_images_comes_with_its_error(tmp_path: Path) -> None:
    with Repository.open(f"sqlite:///{tmp_path / 'study.db'}") as repository:
        trial = best_feasible(repository.trials(seed_demo(repository).id))
    assert trial is not None and trial.deployed is not None and trial.deployed.ap is not None
    trial = replace(trial, spec=Space.default().sample(random.Random(0)).to_dict())
    ap = trial.deployed.ap
    protocol = {
        **trial.deployed.protocol,
        "images": 50,
        "of_images": 500,
        "ap_low": ap - 0.1,
        "ap_high": ap + 0.1,
    }
    part = replace(trial.deployed, protocol=protocol)
    known = read_known(replace(trial, first_deployed=part, evaluations={Origin.DEPLOYED: part}))
    assert known.ap == ap and known.longer_ap is None
    assert known.ap_error == pytest.approx(0.1 / 2.5758, rel=1e-4)  # half a 99 % interval is 2.58 deviations
    whole = replace(trial.deployed, epochs=1.0)
    longer = replace(part, epochs=4.0)
    known = read_known(replace(trial, first_deployed=whole, evaluations={Origin.DEPLOYED: longer}))
    assert known.ap_error == 0.0 and known.longer_ap is None


def test_a_stored_latency_that_no_device_has_teaches_nothing(tmp_path: Path) -> None:
    with Repository.open(f"sqlite:///{tmp_path / 'study.db'}") as repository:
        trial = best_feasible(repository.trials(seed_demo(repository).id))
    assert trial is not None and trial.latency is not None
    trial = replace(trial, spec=Space.default().sample(random.Random(0)).to_dict())
    endless = replace(trial.latency, median_ms=float("inf"))
    assert read_known(trial).latency_ms is not None
    assert read_known(replace(trial, deployed_latency=endless, untrained_latency=None)).latency_ms is None
