"""What the search believes about a quantity of candidates it has not evaluated: scikit-learn regressors.

A straight line over what sums candidates up; beyond it a Gaussian process (mixed Matérn kernel, hyperparameters
by maximum a posteriori) averaged with a forest of randomised trees. The process is right where the quantity is
smooth in the features, the trees where single choices decide; their disagreement widens the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, WhiteKernel
from sklearn.linear_model import BayesianRidge

from search.samplers.features import Features
from search.samplers.kernel import BOUNDS, Array, GroupedMatern, MapRegressor

MAX_FITTED = 64  # observations that hyperparameters are fitted on
MAX_KNOWN = 500  # observations that a prediction rests on
_ROUNDS = 25  # of the optimiser
_LENGTH = 0.25  # prior of the length scales, times the root of their number
_LENGTH_SPREAD = 0.5  # of its logarithm
_TREES = 60
_TREE_SHARE = 0.5  # of the forest in the mixture
_CHUNK = 1000
_TREND_FROM = 5  # observations from which a trend is drawn
_TREND_ERROR = 0.3  # of a single observation beside the trend, of their spread: what noise is compared with
_LEAST_VARIED = 1e-9


@dataclass(frozen=True, slots=True)
class Belief:
    """Mean and standard deviation, (N,), in the units of the observations."""

    mean: Array
    deviation: Array


def believe(
    features: Features,
    rows: Array,
    values: Array,
    noise: Array,
    wanted: Array,
    *,
    seed: int,
    trend: bool = True,
) -> Belief:
    """Predict a quantity.

    Args:
        features: of all candidates at hand.
        rows: (N,) which of them are observed.
        values: (N,) what was observed.
        noise: (N,) standard deviation of each observation beyond what the model finds itself; 0 for none.
        wanted: (M,) which are to be predicted.
        trend: whether a straight line is taken out first.
    """
    if len(values) == 0:
        return Belief(np.zeros(len(wanted)), np.ones(len(wanted)))
    if not trend:
        return _beyond_trend(features, rows, values, noise, wanted, seed)
    line, doubt = _trend(features, rows, values, noise)
    rest = _beyond_trend(features, rows, values - line[rows], noise, wanted, seed)
    return Belief(line[wanted] + rest.mean, np.sqrt(rest.deviation**2 + doubt[wanted] ** 2))


def _trend(features: Features, rows: Array, values: Array, noise: Array) -> tuple[Array, Array]:
    """A straight line over what sums candidates up, and the standard error of where it lies, (N,) each.

    Of few observations a stationary process foretells little but their mean a step away from them, while work
    and size explain most of what candidates differ in; it is left what the line does not explain (regression
    kriging; Hengl et al., Computers & Geosciences 2007).
    """
    columns = [
        column for name in features.groups if name in features.summaries for column in features.groups[name]
    ]
    told = features.matrix[:, columns]
    varied = told[rows].std(axis=0) > _LEAST_VARIED
    if not varied.any() or len(values) < _TREND_FROM:
        return np.zeros(len(told)), np.zeros(len(told))
    inputs = (told - told[rows].mean(axis=0))[:, varied] / told[rows].std(axis=0)[varied]
    low, middle, spread = _robust_scale(values)
    target = (np.maximum(values, low) - middle) / spread
    weights = 1.0 / (1.0 + (noise / spread / _TREND_ERROR) ** 2)
    line = BayesianRidge().fit(inputs[rows], target, sample_weight=weights)
    mean, deviation = line.predict(inputs, return_std=True)
    doubt = np.sqrt(np.maximum(deviation**2 - 1.0 / line.alpha_, 0.0))
    return middle + spread * mean, spread * doubt


def _beyond_trend(
    features: Features, rows: Array, values: Array, noise: Array, wanted: Array, seed: int
) -> Belief:
    low, middle, spread = _robust_scale(values)
    target = (np.maximum(values, low) - middle) / spread
    chosen = _subset(target, MAX_KNOWN, seed)
    inputs, target, noise = features.matrix[rows[chosen]], target[chosen], noise[chosen] / spread
    query = features.matrix[wanted]
    process = _fitted(features, inputs, target, noise, seed)
    parts = [process.predict(query[i : i + _CHUNK], return_std=True) for i in range(0, len(query), _CHUNK)]
    mean = np.concatenate([part[0] for part in parts])
    deviation = np.concatenate([part[1] for part in parts])
    if len(target) >= 8:
        # trees know no noise: what is uncertain is smoothed by the process first
        smooth = np.where(noise > 0, process.predict(inputs), target) if noise.any() else target
        tree_mean, tree_deviation = _forest(inputs, smooth, query, seed)
        mixed = (1.0 - _TREE_SHARE) * mean + _TREE_SHARE * tree_mean
        second = (1.0 - _TREE_SHARE) * (deviation**2 + mean**2) + _TREE_SHARE * (
            tree_deviation**2 + tree_mean**2
        )
        mean, deviation = mixed, np.sqrt(np.maximum(second - mixed**2, 1e-12))
    return Belief(middle + spread * mean, spread * deviation)


def _robust_scale(values: Array) -> tuple[float, float, float]:
    """Floor, centre and spread: a few broken candidates must not flatten the differences that matter."""
    quarter, three = np.quantile(values, [0.25, 0.75])
    low = max(float(values.min()), float(quarter - 1.5 * max(three - quarter, 1e-12)))
    kept = np.maximum(values, low)
    return low, float(kept.mean()), float(max(kept.std(), 1e-9))


def _subset(target: Array, size: int, seed: int) -> Array:
    """The best half of `size` and a fair draw of the rest; all, in order, where there are no more."""
    if len(target) <= size:
        return np.arange(len(target))
    order = np.argsort(-target, kind="stable")
    best, rest = order[: size // 2], order[size // 2 :]
    drawn = np.random.default_rng(seed).choice(rest, size - len(best), replace=False)
    return np.sort(np.concatenate([best, drawn]))


def _fitted(features: Features, inputs: Array, target: Array, noise: Array, seed: int) -> MapRegressor:
    kernel, prior = _kernel(features)
    few = _subset(target, MAX_FITTED, seed)
    alpha = noise**2 + 1e-8

    process = MapRegressor(kernel, alpha=alpha[few], optimizer=_optimise, prior=prior)
    process.fit(inputs[few], target[few])
    if len(few) == len(target):
        return process
    return MapRegressor(process.kernel_, alpha=alpha, optimizer=None).fit(inputs, target)


def _optimise(objective: object, start: Array, bounds: Array) -> tuple[Array, float]:
    from scipy.optimize import minimize

    found = minimize(
        objective,
        start,
        method="L-BFGS-B",
        jac=True,
        bounds=bounds,
        options={"maxiter": _ROUNDS, "ftol": 1e-5},
    )
    return found.x, found.fun


def _kernel(features: Features) -> tuple[Kernel, tuple[Array, Array]]:
    """A part that follows what sums a candidate up and a part over everything, plus noise."""
    everything = tuple(features.groups.values())
    summaries = tuple(features.groups[name] for name in features.groups if name in features.summaries)
    parts: list[tuple[Kernel, list[float], list[float]]] = []
    for groups in (summaries, everything):
        if groups and (groups is everything or len(groups) < len(everything)):
            length = min(_LENGTH * len(groups) ** 0.5 + 0.3, BOUNDS[1])
            kernel = ConstantKernel(1.0, (1e-2, 1e2)) * GroupedMatern(np.full(len(groups), length), groups)
            parts.append(
                (kernel, [0.0] + [np.log(length)] * len(groups), [1.0] + [_LENGTH_SPREAD] * len(groups))
            )
    noise = WhiteKernel(1e-2, (1e-5, 0.5))
    total: Kernel = noise
    means, spreads = [np.log(5e-3)], [1.5]
    for kernel, mean, spread in reversed(parts):
        total = kernel + total
        means, spreads = mean + means, spread + spreads
    return total, (np.array(means), np.array(spreads))


def _forest(inputs: Array, target: Array, query: Array, seed: int) -> tuple[Array, Array]:
    forest = ExtraTreesRegressor(_TREES, min_samples_leaf=1, max_features=0.7, random_state=seed)
    forest.fit(inputs, target)
    votes = np.stack([tree.predict(query) for tree in forest.estimators_])
    return votes.mean(axis=0), votes.std(axis=0)
