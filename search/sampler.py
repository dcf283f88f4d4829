"""Samplers by name, and the mapping between our space and Optuna's parameters. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from yolov6space.dimensions import Dimension
    from yolov6space.space import Space


DEFAULT_SAMPLER = "latency-aware"
BASELINE_NAMES = ("gp", "tpe", "nsga2", "random")  # Optuna's own, see search/samplers/baselines.py
SAMPLERS = (DEFAULT_SAMPLER, *BASELINE_NAMES)
FOCUSES = ("target", "front")


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Every open dimension; ordered ones become indices, so that a model sees the order, others categories."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    return {
        dimension.name: IntDistribution(0, len(dimension.choices) - 1)
        if dimension.ordered
        else CategoricalDistribution(dimension.choices)
        for dimension in _open(space)
    }


def to_values(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Optuna parameters -> values of the space."""
    return {
        dimension.name: dimension.choices[params[dimension.name]]
        if dimension.ordered
        else params[dimension.name]
        for dimension in _open(space)
    }


def to_params(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the space -> Optuna parameters.

    A dimension that does not apply gets its first choice: Optuna models only parameters that every trial has.
    """
    params = {}
    for dimension in _open(space):
        value = values.get(dimension.name, dimension.choices[0])
        params[dimension.name] = dimension.choices.index(value) if dimension.ordered else value
    return params


def _open(space: Space) -> list[Dimension]:
    return [dimension for dimension in space.dimensions if len(dimension.choices) > 1]
