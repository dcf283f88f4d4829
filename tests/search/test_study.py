"""Questions: valid, new, reproducible from what is known alone, and better than chance where a model helps."""

import random
from dataclasses import replace

import pytest

from evaluators.estimate import Case, Observation
from search.sampler import SAMPLERS, distributions, to_params, to_values
from search.study import Known, Question, propose
from tests.search.fakes import CLASSES, SIZE, ap, gflops, latency_ms
from yolov6space.candidate import Candidate
from yolov6space.space import Space

TARGET_MS = 8.8


def ask(known: list[Known], taken: set[str], sampler: str, seed: int = 0) -> Candidate:
    found = propose(Space.default(), known, taken, question(sampler, seed))
    assert found is not None and found.why
    return found.candidate


def question(sampler: str, seed: int = 0) -> Question:
    return Question(target_ms=TARGET_MS, sampler=sampler, seed=seed, num_classes=CLASSES, image_size=SIZE)


def answer(candidate: Candidate) -> Known:
    latency = latency_ms(candidate)
    return Known(candidate, latency, ap(candidate, 10) if latency <= TARGET_MS else None)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_new_valid_and_deterministic(sampler: str) -> None:
    known: list[Known] = []
    taken: set[str] = set()
    for _ in range(12):
        candidate = ask(known, taken, sampler)
        assert candidate.key not in taken
        assert candidate in Space.default()
        assert ask(list(known), set(taken), sampler) == candidate  # from what is known alone
        known.append(answer(candidate))
        taken.add(candidate.key)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_only_what_there_is_time_for_is_proposed(sampler: str) -> None:
    def small(candidate: Candidate) -> bool:
        return gflops(candidate) < 0.5

    rng = random.Random(5)
    known = [answer(Space.default().sample(rng)) for _ in range(12)]
    taken = {one.candidate.key for one in known}
    if sampler == "latency-aware":  # the others ask for anything
        free = [propose(Space.default(), known, taken, question(sampler, seed)) for seed in range(5)]
        assert not all(found is not None and small(found.candidate) for found in free)
    for seed in range(5):
        asked = replace(question(sampler, seed), affordable=small)
        found = propose(Space.default(), known, taken, asked)
        assert found is not None and small(found.candidate)
    assert propose(Space.default(), known, taken, replace(asked, affordable=lambda _: False)) is None


def test_what_a_calibration_measured_spares_measuring_it_again() -> None:
    """Without it the first questions cannot tell what is within the limit."""
    rng = random.Random(3)
    known = tuple(
        Observation(
            case=Case(model=one.model, precision=one.precision, image_size=SIZE, num_classes=CLASSES),
            ms=latency_ms(one),
        )
        for one in (Space.default().sample(rng) for _ in range(30))
    )

    def over(calibration: tuple[Observation, ...]) -> int:
        told: list[Known] = []
        asked = replace(question("latency-aware"), calibration=calibration)
        for _ in range(6):
            found = propose(Space.default(), told, {one.candidate.key for one in told}, asked)
            assert found is not None
            told.append(answer(found.candidate))
        return sum(one.ap is None for one in told)

    assert over(known) < over(())


@pytest.mark.parametrize("latency", [0.0, -1.0, float("nan"), float("inf")])
def test_a_latency_that_no_device_has_is_refused(latency: float) -> None:
    candidate = Space.default().sample(random.Random(0))
    with pytest.raises(ValueError, match="above 0 and finite"):
        Known(candidate, latency, 0.3)
    with pytest.raises(ValueError, match="above 0 and finite"):
        Known(candidate, None, 0.3, older=True, elsewhere_ms=latency)
    with pytest.raises(ValueError, match="ap is nan"):
        Known(candidate, 1.0, float("nan"))


def test_seeds_differ() -> None:
    assert ask([], set(), "random", seed=0) != ask([], set(), "random", seed=1)


def test_gp_learns_the_limit() -> None:
    rng = random.Random(3)
    known = [answer(Space.default().sample(rng)) for _ in range(25)]
    taken = {one.candidate.key for one in known}
    chance = sum(one.latency_ms <= TARGET_MS for one in known) / len(known)
    asked = [ask(known, taken, "gp", seed) for seed in range(3)]
    assert sum(latency_ms(one) <= TARGET_MS for one in asked) / 3 > chance


def test_candidates_outside_the_space_are_not_modelled() -> None:
    narrow = Space.default().to_dict()
    narrow["dimensions"]["activation"] = ["silu"]
    outside = answer(Space.default().sample(random.Random(0)))
    assert outside.candidate.model.activation != "silu"
    for sampler in ("latency-aware", "gp"):
        found = propose(Space.from_dict(narrow), [outside], set(), question(sampler))
        assert found is not None and found.candidate.model.activation == "silu"


def test_parameters_round_trip() -> None:
    space = Space.default()
    rng = random.Random(1)
    for _ in range(50):
        candidate = space.sample(rng)
        params = to_params(space, space.encode(candidate))
        assert set(params) == set(distributions(space))
        assert space.decode(to_values(space, params)) == candidate
