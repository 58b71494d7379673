"""Intervals by the bootstrap over users."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recloom.errors import InputError

Floats = NDArray[np.float64]

CELLS = 1 << 20
"""Weights of users formed at one time."""


def bootstrap_means(values: Floats, *, samples: int = 1000, seed: int = 0) -> Floats:
    """Means of users drawn anew with replacement, `(samples, metrics)`.

    How often each user is drawn is a row of weights, so all means are one product of matrices, formed
    block by block. All columns see the same draws.

    Args:
        values: one row per user, `(users, metrics)`.
    """
    n_users, draw = len(values), np.random.default_rng(seed)
    step = max(1, CELLS // n_users)
    means = np.empty((samples, values.shape[1]))
    for begin in range(0, samples, step):
        size = min(step, samples - begin)
        drawn = draw.integers(0, n_users, (size, n_users), dtype=np.int32)
        drawn += np.arange(0, size * n_users, n_users, dtype=np.int32)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * n_users).reshape(size, n_users)
        means[begin : begin + size] = weights.astype(np.float64) @ values / n_users
    return means


def bootstrap(values: Floats, *, level: float = 0.95, samples: int = 1000, seed: int = 0) -> tuple[Floats, Floats]:
    """Percentile intervals of the means over users, `(metrics,)` twice: lower and upper ends.

    Args:
        values: one row per user, `(users, metrics)`.
        level: share of the bootstrap means inside, above 0 and below 1.
    """
    if not 0 < level < 1:
        raise InputError(f"level={level} must lie between 0 and 1, such as 0.95")
    if samples < 2:
        raise InputError(f"samples={samples}: at least 2 are needed, 1000 are usual")
    means = bootstrap_means(values, samples=samples, seed=seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
