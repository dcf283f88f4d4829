"""Plain values between the parts of the sampler."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from search.samplers.model import Belief

Params = Mapping[str, Any]
Focus = Literal["target", "front"]
GIVEN = math.inf
LATENCY_ALONE = -1
"""Rung of an observation that tells a latency and nothing else, such as what an older study did not train."""
TARGET_WEIGHT: dict[Focus, float] = {"target": 1.0, "front": 0.2}
"""Weight of the best value within the limit beside the whole front, by focus."""


class Source(Protocol):
    """Where candidates come from, and what is known of them before evaluation.

    Attributes:
        choices: the parameters in order; the texts to choose from, or None for a number.
        distributions: the same for Optuna.
        latency: the figure that foretells latency, None where no figure does.
        latency_error: its relative standard error; 0 when it is the truth.
    """

    @property
    def choices(self) -> Mapping[str, tuple[Any, ...] | None]: ...

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]: ...

    @property
    def latency(self) -> str | None: ...

    @property
    def latency_error(self) -> float: ...

    def key(self, params: Params) -> str:
        """One name per candidate, however it is spelled."""

    def draw(self, taken: Collection[str], best: Sequence[Params], seed: int) -> Sequence[Params]:
        """Valid candidates, each once, none of those `taken`; empty when there are no more.

        Args:
            best: what is known to be good, best first; a large source looks around it too.
        """

    def figures(self, params: Sequence[Params]) -> dict[str, list[float]]:
        """What is known before evaluation, by name: finite numbers, one per candidate."""

    def foretold(
        self, params: Sequence[Params], measured: Sequence[tuple[Params, float]], *, here: bool = True
    ) -> Belief | None:
        """Belief about the logarithm of latencies, from those that were measured, on this device or another one;
        None where `latency`, or what the figures teach, has to do.
        """


@dataclass(frozen=True, slots=True)
class Observation:
    """One trial.

    Attributes:
        rung: 0 for the cheapest kind of evaluation, or LATENCY_ALONE.
        value: AP (or whatever is maximised); None while it runs, or when there will be none.
        latency: measured; None where it was not.
        ended: whether it runs no more.
        elsewhere: latency measured on another device; None where it was not.
        error: standard error of the value where it is that of a sample, such as of a part of the images; 0 else.
    """

    params: Params
    rung: int
    value: float | None
    latency: float | None
    ended: bool = True
    elsewhere: float | None = None
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked for.

    Attributes:
        limit: of the latency; None for no limit.
        costs: of one evaluation on each rung, cheapest first; the last is the one that counts, cost 1. A cost of
            GIVEN: results of that rung are given, as by an older study, and none is asked for.
        infeasible_share: part of the evaluations that may turn out over the limit where latency is inexact.
    """

    limit: float | None
    focus: Focus = "target"
    costs: tuple[float, ...] = (1.0,)
    infeasible_share: float = 0.03


@dataclass(frozen=True, slots=True)
class Choice:
    """The next evaluation, and why."""

    params: Params
    rung: int
    why: str
