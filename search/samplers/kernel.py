"""A covariance over numbers and categories for scikit-learn's Gaussian processes.

Legend: N, M rows, C columns of a feature matrix, G groups of columns that share one length scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel, StationaryKernelMixin

Array = np.ndarray[Any, np.dtype[Any]]
_SQRT5 = 5.0**0.5
BOUNDS = (1e-1, 1e2)  # of length scales, for columns of the unit interval


class GroupedMatern(StationaryKernelMixin, Kernel):
    """Matérn 5/2 with one length scale per group of columns; columns of no group are ignored.

    A category is a group of indicator columns of height 1/sqrt(2): two rows that differ in it are then at
    distance 1, so that inside this kernel its contribution is the Hamming distance.

    Args:
        length_scale: (G,).
        groups: the columns of each group.
    """

    def __init__(self, length_scale: Sequence[float] | Array, groups: tuple[tuple[int, ...], ...]) -> None:
        self.length_scale = length_scale
        self.groups = groups
        self._seen: Array | None = None
        self._squares: Array | None = None

    @property
    def hyperparameter_length_scale(self) -> Hyperparameter:
        """How scikit-learn finds what may be fitted."""
        return Hyperparameter("length_scale", "numeric", BOUNDS, len(self.groups))

    def __call__(
        self, X: Array, Y: Array | None = None, eval_gradient: bool = False
    ) -> Array | tuple[Array, Array]:
        """(N, M) covariances; with `eval_gradient` also (N, N, G) derivatives by the log of each length."""
        lengths = np.atleast_1d(np.asarray(self.length_scale, dtype=float))
        if Y is not None:
            return _matern(cdist(self._scaled(X, lengths), self._scaled(Y, lengths)))
        squares = self._group_squares(X)
        parts = squares / lengths**2
        distance = np.sqrt(parts.sum(axis=-1))
        if not eval_gradient:
            return _matern(distance)
        slope = 5.0 / 3.0 * (1.0 + _SQRT5 * distance) * np.exp(-_SQRT5 * distance)
        return _matern(distance), slope[..., None] * parts

    def diag(self, X: Array) -> Array:
        """Ones."""
        return np.ones(len(X))

    def _scaled(self, rows: Array, lengths: Array) -> Array:
        return np.concatenate(
            [rows[:, list(group)] / length for group, length in zip(self.groups, lengths, strict=True)],
            axis=1,
        )

    def _group_squares(self, rows: Array) -> Array:
        """(N, N, G); kept, because a fit asks for the same rows at every step."""
        if self._seen is not rows or self._squares is None:
            self._squares = np.stack(
                [cdist(rows[:, list(group)], rows[:, list(group)], "sqeuclidean") for group in self.groups],
                -1,
            )
            self._seen = rows
        return self._squares


def _matern(distance: Array) -> Array:
    scaled = _SQRT5 * distance
    return (1.0 + scaled + scaled**2 / 3.0) * np.exp(-scaled)


class MapRegressor(GaussianProcessRegressor):
    """A Gaussian process whose hyperparameters are fitted with a normal prior on their logarithms.

    With a few dozen observations and a length scale per dimension the likelihood alone over-fits.

    Args:
        prior: (mean, standard deviation) of the logarithms, each like `kernel.theta`.
    """

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        alpha: float | Array = 1e-10,
        optimizer: Any = "fmin_l_bfgs_b",
        prior: tuple[Array, Array] | None = None,
    ) -> None:
        super().__init__(kernel, alpha=alpha, optimizer=optimizer)
        self.prior = prior

    def log_marginal_likelihood(
        self, theta: Array | None = None, eval_gradient: bool = False, clone_kernel: bool = True
    ) -> Any:
        """The logarithm of likelihood times prior, up to a constant."""
        found = super().log_marginal_likelihood(theta, eval_gradient, clone_kernel)
        if theta is None or self.prior is None:
            return found
        mean, spread = self.prior
        away = (theta - mean) / spread
        if eval_gradient:
            return found[0] - 0.5 * away @ away, found[1] - away / spread
        return found - 0.5 * away @ away
