"""What is believed about the latency of candidates before they are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm

from search.samplers.features import Features
from search.samplers.kernel import Array
from search.samplers.model import Belief

_PRIOR_WEIGHT = 4.0  # a declared error counts as much as so many observed ones
_LEAST_ERROR = 0.03  # of what is foretold from other candidates alone
_FIXED_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8)  # of the least time measured: fixed times that are tried
_LEAST_DEVIATION = 1e-6
_DEVICES_APART = 0.7  # of the logarithm of two devices' latencies: a factor of two
_DEVICES_DIFFER = 0.15  # of the same beside that factor, from network to network
_DIFFER_WEIGHT = 4.0  # networks that this guess counts as
MIN_LEARNT = 4  # measurements before anything is foretold from features alone


def latency_belief(
    features: Features,
    figures: Mapping[str, Sequence[float]],
    estimate: Array | None,
    error: float,
    measured: Array,
) -> Belief | None:
    """Mean and deviation of the logarithm of every candidate's latency; None when nothing can be said.

    Args:
        figures: known beforehand; N positive numbers each.
        estimate: (N,) foretold latencies, None where no figure foretells them.
        error: their relative standard error, 0 when they are the truth.
        measured: (N,) NaN where nothing was measured.
    """
    seen = np.isfinite(measured)
    if estimate is None:
        if seen.sum() < MIN_LEARNT:
            return None
        mean, deviation = _learnt(features, figures, measured, seen)
    elif error == 0:
        mean, deviation = np.log(estimate), np.zeros(len(estimate))
    else:
        off = np.log(measured[seen] / estimate[seen])
        count = len(off) + _PRIOR_WEIGHT
        bias = off.sum() / count
        spread = np.sqrt(((off**2).sum() + _PRIOR_WEIGHT * error**2) / count)
        mean, deviation = np.log(estimate) + bias, np.full(len(estimate), spread)
    return settled(Belief(mean, deviation), measured)


def settled(belief: Belief, measured: Array) -> Belief:
    """The same with nothing left open where it was measured; (N,) NaN elsewhere."""
    seen = np.isfinite(measured)
    known = np.log(np.where(seen, measured, 1.0))
    return Belief(np.where(seen, known, belief.mean), np.where(seen, 0.0, belief.deviation))


def _learnt(
    features: Features, figures: Mapping[str, Sequence[float]], measured: Array, seen: Array
) -> tuple[Array, Array]:
    """A fixed time and, on top, a power law of the work, times a ratio for whatever else is chosen.

    The fixed time (launches, pre- and postprocessing) is the one of greatest evidence: without it the power law is
    flat among small networks and steep among large ones, and a choice seen at one size alone gets the blame.
    """
    from sklearn.linear_model import BayesianRidge

    logs = np.log(
        np.maximum(np.array(list(figures.values()), dtype=float).reshape(-1, len(measured)).T, 1e-9)
    )
    columns = np.column_stack([logs, features.matrix[:, features.chosen]])
    spread = np.maximum(columns[seen].std(axis=0), 1e-9)
    fixed = columns[seen].std(axis=0) < 1e-9  # nothing was learnt about what never changed
    inputs = np.where(fixed, 0.0, (columns - columns[seen].mean(axis=0)) / spread)
    times = measured[seen]

    def fitted(start: float) -> tuple[float, float, BayesianRidge]:
        line = BayesianRidge(compute_score=True).fit(inputs[seen], np.log(times - start))
        return line.scores_[-1] - float(np.log(times - start).sum()), start, line

    _, start, line = max((fitted(share * times.min()) for share in _FIXED_SHARES), key=lambda one: one[0])
    mean, deviation = line.predict(inputs, return_std=True)
    work = np.exp(mean)
    return np.log(start + work), np.maximum(deviation * work / (start + work), _LEAST_ERROR)


def as_here(elsewhere: Belief, measured: Array) -> Belief:
    """What another device's latencies tell of this one's: a common factor, learnt from the first measurement on.

    Args:
        elsewhere: the logarithm of latencies there, (N,).
        measured: (N,) here; NaN where nothing was measured.
    """
    seen = np.isfinite(measured)
    off = np.log(measured[seen]) - elsewhere.mean[seen]
    certainty = len(off) + (_DEVICES_DIFFER / _DEVICES_APART) ** 2
    factor = off.sum() / certainty
    rest = ((off - factor) ** 2).sum() + _DIFFER_WEIGHT * _DEVICES_DIFFER**2
    variance = rest / (len(off) + _DIFFER_WEIGHT)
    return Belief(
        elsewhere.mean + factor, np.sqrt(variance * (1.0 + 1.0 / certainty) + elsewhere.deviation**2)
    )


def pooled(first: Belief, second: Belief) -> Belief:
    """Two beliefs about one quantity, each weighed by its precision."""
    weights = [1.0 / np.maximum(one.deviation, _LEAST_DEVIATION) ** 2 for one in (first, second)]
    total = weights[0] + weights[1]
    return Belief((weights[0] * first.mean + weights[1] * second.mean) / total, total**-0.5)


def probability_within(belief: Belief, limit: float) -> Array:
    """P(latency <= limit)."""
    away = np.log(limit) - belief.mean
    certain = np.where(away >= -1e-12, 1.0, 0.0)
    uncertain = belief.deviation > 0
    return np.where(uncertain, norm.cdf(away / np.where(uncertain, belief.deviation, 1.0)), certain)


def allowed_risk(share: float, evaluated: int, infeasible: int) -> float:
    """How likely the next evaluation may be over the limit, so that `share` of all of them is in the end."""
    return float(np.clip(share * (evaluated + 1) - infeasible, 0.01, 0.2))
