"""Optuna samplers by name, and the mapping between our space and Optuna's parameters.

A new sampler is one entry in SAMPLERS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

    from yolov6space.dimensions import Dimension
    from yolov6space.space import Space


def _gp(seed: int) -> BaseSampler:
    import torch
    from optuna.samplers import GPSampler

    torch.set_num_threads(1)  # its matrices are tiny, and more threads only fight with running trainings
    return GPSampler(seed=seed, n_startup_trials=10, deterministic_objective=False)


def _tpe(seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True, n_startup_trials=10)


def _nsga2(seed: int) -> BaseSampler:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=20)


def _random(seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "gp": _gp,  # repeats itself least on a space of this kind
    "tpe": _tpe,
    "nsga2": _nsga2,
    "random": _random,
}
DEFAULT_SAMPLER = "gp"


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
