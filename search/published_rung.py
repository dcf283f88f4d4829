"""The paper's figures as what is known before a search: a rung below its own evaluations, with results given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from foundation.cli import progress
from foundation.errors import UserError
from search.options import PUBLISHED
from search.study import Known
from yolov6space.candidate import Candidate, Precision
from yolov6space.published import PublishedFigure, published
from yolov6space.space import Space
from yolov6space.variants import named


def published_results(space: Space) -> list[Known]:
    """AP of the named networks as printed (COCO val2017, 640 pixels), those that the space holds.

    How far it holds on this data is learnt, like an older study's. It was printed for fp16, which costs no AP to
    speak of: where the space has no fp16 it stands for the space's first float format. Printed latencies are left
    out; where they apply, on a T4, the estimate rests on them already.

    Raises:
        UserError: the space holds none of them.
    """
    found: dict[str, Known] = {}
    unchanged = [*_stand_ins(space, keep_distillation=True)]
    for name, candidate in [*unchanged, *_stand_ins(space, keep_distillation=False)]:
        figure = _accuracy(published(name))
        if figure is not None and candidate in space:
            found.setdefault(candidate.key, Known(candidate, None, figure.value / 100, older=True))
    if not found:
        raise UserError(
            f"--warm-start {PUBLISHED}: this space holds no network with published AP; leave it out"
        )
    progress(
        f"warm start from published figures: AP of {len(found)} networks on COCO val2017; it guides the questions "
        "and is no result of this study"
    )
    return list(found.values())


def _stand_ins(space: Space, *, keep_distillation: bool) -> Iterator[tuple[str, Candidate]]:
    """The named networks, in a number format of the space, with their own distillation or with none."""
    floats = [str(kind) for kind in space.choices["precision"] if kind != "int8"]
    if not floats:
        return
    kind = "fp16" if "fp16" in floats else floats[0]
    for name, candidate in named().items():
        recipe = candidate.recipe
        if not keep_distillation:
            recipe = replace(recipe, distillation="none")
        yield name, replace(candidate, recipe=recipe, precision=Precision.of(kind))


def _accuracy(figures: list[PublishedFigure]) -> PublishedFigure | None:
    """AP from the first table that has it without a condition."""
    plain = (one for one in figures if one.metric == "ap" and one.protocol.condition is None)
    return next(plain, None)
