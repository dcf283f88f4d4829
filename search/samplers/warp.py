"""A monotone scale on which observed values are close to normal, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import inv_boxcox1p
from scipy.stats import yeojohnson, yeojohnson_normmax

from search.samplers.kernel import Array

_POWERS = (-1.0, 4.0)  # beyond these a few dozen values say nothing reliable about the shape of their tails
_FARTHEST = 50.0  # standard deviations of the values: where the way back ends
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(16)


@dataclass(frozen=True, slots=True)
class Warp:
    """Yeo and Johnson's power transformation (Biometrika 2000) of standardised values, standardised again.

    Attributes:
        middle, spread: of the values.
        power: their lambda; 1 changes nothing, more pulls in a long tail of poor values.
        warped_middle, warped_spread: of the transformed values.

    scikit-learn's PowerTransformer has no limits for the power, and its way back ends in NaN where ours has an end.
    """

    middle: float
    spread: float
    power: float
    warped_middle: float
    warped_spread: float

    @classmethod
    def fitted(cls, values: Array) -> Warp:
        """The power by maximum likelihood; none where all values are one."""
        middle, spread = float(values.mean()), float(values.std())
        if spread < 1e-9:
            return cls(middle, 1.0, 1.0, 0.0, 1.0)
        standard = (values - middle) / spread
        power = float(np.clip(yeojohnson_normmax(standard), *_POWERS))
        warped = yeojohnson(standard, lmbda=power)
        return cls(middle, spread, power, float(warped.mean()), max(float(warped.std()), 1e-9))

    def to(self, values: Array) -> Array:
        """Values on the scale of the warp."""
        warped = yeojohnson((values - self.middle) / self.spread, lmbda=self.power)
        return (warped - self.warped_middle) / self.warped_spread

    def back(self, warped: Array) -> Array:
        """Inverse of `to`; what lies beyond the reach of the transformation becomes its end."""
        shifted = warped * self.warped_spread + self.warped_middle
        with np.errstate(all="ignore"):
            found = np.where(
                shifted >= 0,
                inv_boxcox1p(np.maximum(shifted, 0.0), self.power),
                -inv_boxcox1p(np.maximum(-shifted, 0.0), 2.0 - self.power),
            )
        found = np.where(np.isnan(found), np.sign(shifted) * _FARTHEST, found)
        return np.clip(found, -_FARTHEST, _FARTHEST) * self.spread + self.middle

    def error_to(self, values: Array, errors: Array) -> Array:
        """Standard errors on the scale of the warp."""
        return (self.to(values + errors) - self.to(values - errors)) / 2.0


def outcomes(warp: Warp, mean: Array, deviation: Array) -> tuple[Array, Array]:
    """Values that a normal belief on the scale of the warp stands for, (N, Q), and their probabilities, (Q,).

    Gauss-Hermite quadrature: expectations of functions of the value are sums over these.
    """
    return warp.back(mean[:, None] + deviation[:, None] * _NODES), _WEIGHTS / _WEIGHTS.sum()
