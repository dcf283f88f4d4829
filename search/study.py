"""What to ask next, from what is known alone.

Nothing is kept between two questions, so the same seed and the same known outcomes give the same candidate,
in one unbroken run or after any number of interruptions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from search.budget import LONGER_TRAINING
from search.observing import exploring, observations, quietly, source_of
from search.question import Known, Proposal, Question
from search.sampler import DEFAULT_SAMPLER

if TYPE_CHECKING:
    from search.samplers.report import Beliefs
    from search.samplers.values import Params
    from yolov6space.space import Space

__all__ = ["Known", "Proposal", "Question", "believed", "promising", "propose"]


def propose(
    space: Space, known: Sequence[Known], taken: Collection[str], question: Question
) -> Proposal | None:
    """Choose the next candidate: one whose key is not in `taken`.

    Args:
        known: everything learnt so far; AP is maximised and latency minimised under the target.
        taken: keys that must not be asked again, whatever came of them.

    Returns:
        A new candidate, or None when none is found any more: the space is exhausted, or what is left of it is
        hardly within the limit, or takes longer than there is time.
    """
    if question.sampler == DEFAULT_SAMPLER:
        return _by_ours(space, known, taken, question)
    from search.optuna_questions import by_optuna

    return by_optuna(space, known, taken, question)


def promising(space: Space, known: Sequence[Known], question: Question) -> list[Proposal]:
    """Candidates worth a longer training, the one first that is expected to move the front most.

    Those whose best credible AP does not reach the front are left out.
    """
    from search.samplers.promotion import rank_for_promotion
    from search.samplers.values import Goal

    source = source_of(space, question, frozenset())
    goal = Goal(question.target_ms, question.focus, (1.0 / LONGER_TRAINING, 1.0))
    with quietly():
        found = rank_for_promotion(source, observations(source, known), goal, question.seed)
    return [Proposal(source.candidate_of(choice.params), choice.why) for choice in found]


def believed(space: Space, known: Sequence[Known], question: Question) -> Beliefs | None:
    """Which dimensions matter, and predicted AP of an exploring training against latency; None while unknown."""
    from search.samplers.report import beliefs
    from search.samplers.values import Goal

    source = source_of(space, question, frozenset())
    told, costs = exploring(source, known, frozenset(), question.look_cost)
    with quietly():
        return beliefs(source, told, Goal(question.target_ms, question.focus, costs), question.seed)


def _by_ours(
    space: Space, known: Sequence[Known], taken: Collection[str], question: Question
) -> Proposal | None:
    from search.samplers.decide import decide
    from search.samplers.values import Goal

    excluded = frozenset(taken) - {one.candidate.key for one in known if not one.older}
    source = source_of(space, question, excluded)
    told, costs = exploring(source, known, excluded, question.look_cost)
    affordable = question.affordable

    def fits(params: Params) -> bool:
        return affordable is None or affordable(source.candidate_of(params))

    with quietly():
        choice = decide(source, told, Goal(question.target_ms, question.focus, costs), question.seed, fits)
    if choice is None:
        return None
    return Proposal(source.candidate_of(choice.params), choice.why, look=choice.rung < len(costs) - 1)
