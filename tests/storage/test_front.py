"""The front against a slow loop over all pairs."""

import random
from dataclasses import replace

import pytest

from storage import Origin, Repository
from storage.front import best_feasible, non_dominated, pareto_front
from tests.storage.demo import TARGET_MS, seed_demo


def beaten(point, others):
    """By the definition: somebody is no worse in both and better in one."""
    ap, ms = point
    return any(a >= ap and m <= ms and (a > ap or m < ms) for a, m in others)


@pytest.mark.parametrize("seed", range(20))
def test_against_all_pairs(seed):
    rng = random.Random(seed)
    # few distinct values, so that there are ties and equal points
    points = [(rng.randrange(6) / 10, float(rng.randrange(1, 7))) for _ in range(rng.randrange(30))]
    front = non_dominated(points)
    assert sorted(front) == [index for index, point in enumerate(points) if not beaten(point, points)]
    assert [points[index][1] for index in front] == sorted(points[index][1] for index in front)


def test_trials(sqlite_url):
    with Repository.open(sqlite_url) as repository:
        trials = repository.trials(seed_demo(repository).id)
    points = {t.id: (t.deployed.ap, t.deployed_latency.median_ms) for t in trials if t.deployed_latency}
    fits = {key: point for key, point in points.items() if point[1] <= TARGET_MS}
    assert 3 < len(fits) < len(points)
    expected = {key for key, point in fits.items() if not beaten(point, fits.values())}
    assert {t.id for t in pareto_front(trials)} == expected
    everything = {key for key, point in points.items() if not beaten(point, points.values())}
    assert {t.id for t in pareto_front(trials, feasible_only=False)} == everything
    assert best_feasible(trials).deployed.ap == max(ap for ap, _ in fits.values())


def test_nothing_deployed():
    assert pareto_front([]) == []
    assert best_feasible([]) is None


def test_an_ap_of_a_part_of_the_images_is_not_on_the_front(sqlite_url):
    with Repository.open(sqlite_url) as repository:
        trials = repository.trials(seed_demo(repository).id)
    best = best_feasible(trials)
    part = replace(best.deployed, protocol={**best.deployed.protocol, "images": 50, "of_images": 500})
    seen = {**best.evaluations, Origin.DEPLOYED: part}
    cut_short = [replace(t, evaluations=seen) if t.id == best.id else t for t in trials]
    assert best.id in {t.id for t in pareto_front(trials)}
    assert best.id not in {t.id for t in pareto_front(cut_short)}
    assert best_feasible(cut_short).id != best.id
