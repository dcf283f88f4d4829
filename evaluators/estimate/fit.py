"""Fitting the few parameters of a time model to latencies, and intervals for what it then says.

A time model has positive parameters with a prior: a value known from data sheets or from experience, and how
many e-folds off it may be. Fitted is the logarithm of the latency, so errors are relative; the prior keeps a
parameter where the rows say nothing about it. The interval of an estimate adds what the parameters leave
open (their covariance, carried through the model) to what the model does not explain (the residuals).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluators.estimate.case import Case
from evaluators.latency.records import Estimate

Floats = NDArray[np.float64]
STEP = 1e-4  # of a logarithm, for derivatives
CONFIDENCE = 0.90  # of the interval of every estimate
SMALLEST_NOISE = 0.01  # published and measured latencies repeat no better than this


@dataclass(frozen=True, slots=True)
class Parameter:
    """A positive constant of a time model.

    Attributes:
        prior: what is expected before any latency is seen, in the unit that `meaning` names.
        freedom: standard deviation of its logarithm around the prior.
    """

    name: str
    prior: float
    freedom: float
    meaning: str


class TimeModel(Protocol):
    """Time of one pass as a function of parameters and case."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """In the order of every array of parameters."""
        ...

    def milliseconds(self, values: Mapping[str, Floats], case: Case) -> Floats:
        """Time of one pass for S sets of parameters close to each other: values have shape S,1, the result S."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A known latency of a case, in milliseconds per pass.

    Attributes:
        error: relative standard error of `ms`, as far as it is known.
        name: for people.
    """

    case: Case
    ms: float
    error: float = 0.0
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A time model with fitted parameters.

    Attributes:
        logs: logarithms of the parameters, P.
        covariance: of `logs`, PxP.
        noise: standard deviation of what the model leaves unexplained, relative.
        observations: how many latencies it was fitted to.
    """

    model: TimeModel
    logs: Floats
    covariance: Floats
    noise: float
    observations: int

    @property
    def values(self) -> dict[str, float]:
        """The fitted parameters by name."""
        return dict(zip(names_of(self.model), np.exp(self.logs).tolist(), strict=True))

    def milliseconds(self, case: Case) -> float:
        """The best guess alone."""
        return float(self.model.milliseconds(_values(self.model, self.logs[None]), case)[0])

    def estimate(self, case: Case, *, source: str, doubt: float = 1.0) -> Estimate:
        """Best guess and 90 % interval; `doubt` widens it where the case is unlike what was fitted."""
        value, spread = self.value_and_spread(case)
        factor = math.exp(doubt * self._reach * spread)
        return Estimate(value_ms=value, low_ms=value / factor, high_ms=value * factor, source=source)

    def value_and_spread(self, case: Case) -> tuple[float, float]:
        """The best guess and the standard deviation of its logarithm."""
        value, slopes = self._value_and_slopes(case)
        return value, math.sqrt(self.noise**2 + float(slopes @ self.covariance @ slopes))

    def slopes(self, case: Case) -> Floats:
        """Derivatives of the logarithm of the time by the logarithms of the parameters, P."""
        return self._value_and_slopes(case)[1]

    def _value_and_slopes(self, case: Case) -> tuple[float, Floats]:
        times = self.model.milliseconds(self._near, case)
        return float(times[0]), np.log(times[1:] / times[0]) / STEP

    @cached_property
    def _reach(self) -> float:
        """Standard deviations to either side that hold 90 %."""
        from scipy.stats import t

        return float(t.ppf((1 + CONFIDENCE) / 2, max(self.observations - 1, 1)))

    @cached_property
    def _near(self) -> dict[str, Floats]:
        """The fitted parameters, and beside them every one moved a little: what an interval needs."""
        return _values(self.model, _moved(self.logs))


def names_of(model: TimeModel) -> tuple[str, ...]:
    return tuple(parameter.name for parameter in model.parameters)


def prior_of(model: TimeModel) -> Calibration:
    """The model before it has seen any latency."""
    return Calibration(
        model=model,
        logs=np.log([parameter.prior for parameter in model.parameters]),
        covariance=np.diag([parameter.freedom**2 for parameter in model.parameters]),
        noise=SMALLEST_NOISE,
        observations=0,
    )


def fit(
    model: TimeModel,
    observations: Sequence[Observation],
    *,
    expected_noise: float = 0.03,
    robust: bool = False,
    start: Floats | None = None,
) -> Calibration:
    """Fit by regularised least squares over log latencies.

    Args:
        expected_noise: relative deviation from the model, besides the error of an observation itself, that is
            nothing to bend a prior for.
        robust: deviations beyond twice what is expected count by their size and not by its square, because
            a measurement that was disturbed can be wrong by any factor.
        start: logarithms to start from, such as those of a fit to almost the same observations.

    Raises:
        ValueError: no observations.
    """
    from scipy.optimize import least_squares

    if not observations:
        raise ValueError("a model cannot be calibrated on no latency at all")
    priors = np.log([parameter.prior for parameter in model.parameters])
    freedom = np.array([parameter.freedom for parameter in model.parameters])
    targets = np.log([one.ms for one in observations])
    expected = np.sqrt(expected_noise**2 + np.array([one.error for one in observations]) ** 2)

    def residuals(logs: Floats) -> Floats:
        values = _values(model, logs[None])
        found = [model.milliseconds(values, one.case)[0] for one in observations]
        return np.concatenate([(np.log(found) - targets) / expected, (logs - priors) / freedom])

    def slopes(logs: Floats) -> Floats:
        values = _values(model, _moved(logs))
        times = np.array([model.milliseconds(values, one.case) for one in observations])
        gradients = np.log(times[:, 1:] / times[:, :1]) / STEP
        return np.vstack([gradients / expected[:, None], np.diag(1 / freedom)])

    found = least_squares(
        residuals,
        priors if start is None else start,
        jac=slopes,
        max_nfev=50,
        x_scale="jac",
        loss="soft_l1" if robust else "linear",
        f_scale=2.0,
    )
    misfit = residuals(found.x)[: len(observations)]
    if robust:
        misfit = np.clip(misfit, -3.0, 3.0)
    weighted = slopes(found.x)
    covariance = np.linalg.inv(weighted.T @ weighted)
    of_observations = weighted[: len(observations)]
    used = float(np.einsum("op,pq,oq->", of_observations, covariance, of_observations))  # degrees of freedom
    ratio = float(np.sqrt((misfit @ misfit) / max(1.0, len(observations) - used)))
    noise = max(ratio * expected_noise, SMALLEST_NOISE)
    scale = max(1.0, ratio) ** 2
    return Calibration(
        model=model,
        logs=found.x,
        covariance=np.asarray(covariance * scale, dtype=float),
        noise=noise,
        observations=len(observations),
    )


def leave_out(
    model: TimeModel,
    observations: Sequence[Observation],
    group: Callable[[Observation], object],
    *,
    expected_noise: float = 0.03,
    robust: bool = False,
) -> list[Estimate]:
    """An estimate of every observation by a model refitted without it and all others of its group."""
    options: dict[str, Any] = {"expected_noise": expected_noise, "robust": robust}
    whole = fit(model, observations, **options)
    groups = [group(one) for one in observations]
    found: dict[int, Estimate] = {}
    for left_out in dict.fromkeys(groups):
        rest = [one for one, key in zip(observations, groups, strict=True) if key != left_out]
        calibration = fit(model, rest, start=whole.logs, **options)
        for index, key in enumerate(groups):
            if key == left_out:
                found[index] = calibration.estimate(observations[index].case, source="left out")
    return [found[index] for index in range(len(observations))]


def _values(model: TimeModel, logs: Floats) -> dict[str, Floats]:
    """Parameters by name, each S,1, from S sets of logarithms (S,P)."""
    return dict(zip(names_of(model), np.exp(logs).T[:, :, None], strict=True))


def _moved(logs: Floats) -> Floats:
    """The logarithms (P) and, below them, P copies with one of them moved by STEP."""
    return np.vstack([logs, logs + STEP * np.eye(len(logs))])
