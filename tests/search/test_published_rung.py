"""A search that begins with what the paper printed: which figures, and that they guide it."""

from dataclasses import replace

import pytest

from foundation.errors import UserError
from search.options import SearchOptions
from search.published_rung import published_results
from search.study import Known, Question, propose
from tests.search.fakes import CLASSES, SIZE, latency_ms
from yolov6space.space import Space
from yolov6space.variants import official

QUESTION = Question(target_ms=6.0, sampler="latency-aware", seed=0, num_classes=CLASSES, image_size=SIZE)


def test_figures_are_those_of_the_networks_that_the_space_holds() -> None:
    space = Space.default()
    found = published_results(space)
    ap = {one.candidate.model: one.ap for one in found}
    assert all(one.older and one.candidate in space and one.latency_ms is None for one in found)
    assert len({one.candidate.key for one in found}) == len(found) > 10
    variants = official()
    # Table 1 is with self-distillation for M: without it, Table 4's row of the same network counts
    assert ap[variants["YOLOv6-T"].model] == pytest.approx(0.403)
    assert ap[variants["YOLOv6-M"].model] == pytest.approx(0.481)


def test_a_space_that_holds_none_is_refused() -> None:
    described = Space.default().to_dict()
    only_int8 = {**described["dimensions"], "precision": ["int8"]}
    with pytest.raises(UserError, match="--warm-start published"):
        published_results(Space.from_dict({**described, "dimensions": only_int8}))


@pytest.mark.parametrize(("target_ms", "fifth_is_guided"), [(6.0, False), (200.0, True)])
def test_first_looks_are_spread_until_latency_is_known_then_figures_guide(
    target_ms: float, fifth_is_guided: bool
) -> None:
    """Under a limit that the printed networks are far over, they guide nothing."""
    space, question = Space.default(), replace(QUESTION, target_ms=target_ms)
    known: list[Known] = published_results(space)
    reasons = []
    for _ in range(5):
        found = propose(space, known, {one.candidate.key for one in known if not one.older}, question)
        assert found is not None
        reasons.append(found.why)
        known.append(
            Known(found.candidate, latency_ms(found.candidate), None)
        )  # over the limit, as if all were
    assert ["first look" in why for why in reasons] == [True] * 4 + [not fifth_is_guided]


def test_the_word_is_taken() -> None:
    with pytest.raises(UserError, match="another name"):
        SearchOptions(target_ms=5.0, study="published")
    with pytest.raises(UserError, match="--warm-start"):
        SearchOptions(target_ms=5.0, sampler="tpe", warm_start="published")
