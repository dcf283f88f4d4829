"""Latencies foretold from a few measurements, against a device of other physics: the T4 model, made slower."""

import random
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from evaluators.estimate import Case, Observation, estimate_t4
from search.driver import fixed_trials
from search.samplers.foretold import MAX_FITTED, ByPhysics, exactly
from search.samplers.latency import MIN_LEARNT
from yolov6space.candidate import Candidate, Precision
from yolov6space.space import Space

CLASSES, SIZE, SLOWER = 3, 320, 3.0


def true_ms(candidate: Candidate) -> float:
    precision = candidate.precision if candidate.precision.kind == "int8" else Precision.of("fp16")
    case = Case(
        model=replace(candidate.model, conv="plain"),
        precision=precision,
        image_size=SIZE,
        num_classes=CLASSES,
    )
    return SLOWER * estimate_t4(case).value_ms


def measured(candidates: list[Candidate]) -> list[tuple[Candidate, float]]:
    return [(one, true_ms(one)) for one in candidates]


@pytest.fixture(scope="module")
def drawn() -> list[Candidate]:
    space, rng = Space.default(), random.Random(0)
    return [space.sample(rng) for _ in range(80)]


@pytest.fixture(scope="module")
def variants() -> list[Candidate]:
    return [candidate for _, candidate in fixed_trials()]


def test_a_few_measurements_say_nothing(drawn: list[Candidate]) -> None:
    foretell = ByPhysics(CLASSES, SIZE)
    assert foretell(drawn, measured(drawn[: MIN_LEARNT - 1])) is None
    assert foretell(drawn, measured(drawn[:MIN_LEARNT])) is not None


@pytest.mark.parametrize(("more", "error"), [(0, 0.15), (20, 0.06)])
def test_the_official_variants_tell_of_all_others(
    variants: list[Candidate], drawn: list[Candidate], more: int, error: float
) -> None:
    unseen = drawn[more:]
    belief = ByPhysics(CLASSES, SIZE)(unseen, measured([*variants, *drawn[:more]]))
    assert belief is not None
    off = belief.mean - np.log([true_ms(one) for one in unseen])
    assert np.sqrt((off**2).mean()) < error
    assert (np.abs(off) < 3 * belief.deviation).mean() > 0.9, "and the belief knows how far it may be off"


def test_what_was_calibrated_before_counts_as_measured(
    variants: list[Candidate], drawn: list[Candidate]
) -> None:
    known = [
        Observation(
            case=Case(model=one.model, precision=one.precision, image_size=SIZE, num_classes=CLASSES), ms=ms
        )
        for one, ms in measured(variants)
    ]
    from_before = ByPhysics(CLASSES, SIZE, known=known)(drawn, [])
    now = ByPhysics(CLASSES, SIZE)(drawn, measured(variants))
    assert from_before is not None and now is not None
    np.testing.assert_allclose(from_before.mean, now.mean, rtol=1e-6)


def test_many_measurements_are_thinned_alike_in_any_order(drawn: list[Candidate]) -> None:
    space, rng = Space.default(), random.Random(1)
    many = measured([space.sample(rng) for _ in range(MAX_FITTED + 30)])
    foretell = ByPhysics(CLASSES, SIZE)
    first, second = foretell(drawn[:5], many), foretell(drawn[:5], many[::-1])
    assert first is not None and second is not None
    np.testing.assert_allclose(first.mean, second.mean, rtol=1e-9)


def test_an_estimate_that_decides_is_the_latency(drawn: list[Candidate]) -> None:
    belief = exactly(true_ms)(drawn, [])
    assert belief is not None
    np.testing.assert_allclose(np.exp(belief.mean), [true_ms(one) for one in drawn])
    assert not belief.deviation.any()


def test_batch_and_size_are_those_of_the_question(drawn: list[Candidate], variants: list[Candidate]) -> None:
    several = list(islice(drawn, 5))
    once = ByPhysics(CLASSES, SIZE)(several, measured(variants))
    shifted = ByPhysics(CLASSES, SIZE, batch=8)(several, measured(variants))
    assert once is not None and shifted is not None
    assert not np.allclose(once.mean, shifted.mean, rtol=1e-9), "the same times mean a faster device"
