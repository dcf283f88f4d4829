"""The first questions: spread over latency and over the choices, before any model can say more."""

from __future__ import annotations

import numpy as np

from search.samplers.kernel import Array


def next_of_design(
    matrix: Array, latency: Array | None, pool: Array, asked: Array, size: int, seed: int
) -> int:
    """A row of `pool`: in the latency band that is least asked, the one farthest from all that was asked.

    Args:
        matrix: (N, C) features of all candidates.
        latency: (N,), None while nothing is known.
        pool, asked: rows that may be asked and that were.
        size: number of bands, the size of the whole design.
    """
    rng = np.random.default_rng(seed)
    if latency is not None:
        low, high = latency[pool].min(), latency[pool].max()
        edges = np.linspace(low, high + 1e-9, size + 1)
        band = np.digitize(latency[pool], edges) - 1
        had = np.bincount(np.clip(np.digitize(latency[asked], edges) - 1, 0, size - 1), minlength=size)
        least = min(had[there] for there in np.unique(band))
        bands = [there for there in np.unique(band) if had[there] == least]
        pool = pool[band == bands[int(rng.integers(len(bands)))]]
    if len(asked) == 0:
        return int(rng.choice(pool))
    some = pool if len(pool) <= 200 else rng.choice(pool, 200, replace=False)
    gaps = ((matrix[some][:, None, :] - matrix[asked][None, :, :]) ** 2).sum(axis=-1).min(axis=1)
    return int(some[np.argmax(gaps)])
