"""Paired tests between evaluations of the same users."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recloom.errors import InputError
from recloom.evaluation.report import Evaluation

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction: p-values that hold for all the tests together.

    The smallest of m values is multiplied by m, the next by m - 1 and so on; none falls below one before it.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.

    >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    raised = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    corrected = np.empty_like(values)
    corrected[order] = raised
    return [float(value) for value in corrected]


def paired_difference(first: Floats, second: Floats, level: float = 0.95) -> tuple[float, float, float, float]:
    """Mean of `first - second`, the ends of its interval, and the two-sided p of the paired t test.

    The normal distribution stands for Student's t: with some hundred users or more they agree to the second
    digit, with fewer p comes out too small.

    Args:
        first, second: one metric of the same users, `(users,)`.
    """
    difference = first - second
    mean, n_users = float(difference.mean()), len(difference)
    error = float(difference.std(ddof=1)) / math.sqrt(n_users) if n_users > 1 else math.inf
    if error == 0:
        return mean, mean, mean, float(mean == 0)
    width = NormalDist().inv_cdf((1 + level) / 2) * error
    return mean, mean - width, mean + width, math.erfc(abs(mean) / error / math.sqrt(2))


def compare_paired(
    evaluations: Mapping[str, Evaluation | Sequence[Evaluation]],
    metric: str = "NDCG@10",
    baseline: str | Sequence[str] | None = None,
    level: float = 0.95,
) -> pl.DataFrame:
    """Paired comparisons of methods over the same users, with Holm's correction over all of them.

    Args:
        evaluations: by name; several evaluations under one name (seeds) count as their mean for every user.
        metric: any metric of `Evaluation.values`.
        baseline: compare every other method with this one, or with each of these; None compares all pairs.
        level: of the interval.

    Returns:
        method, against, metric, users, mean, mean_against, difference (mean - mean_against), low, high (its
        interval), p (paired, two-sided, large-sample) and p_holm.

    Raises:
        InputError: fewer than two methods, an unknown baseline or metric, or evaluations that do not ask the
            same thing of the same users.
    """
    import polars as pl

    runs = {name: [runs] if isinstance(runs, Evaluation) else list(runs) for name, runs in evaluations.items()}
    if len(runs) < 2 or not all(runs.values()):
        raise InputError(f"a comparison needs evaluations of at least two methods, found {list(runs)}")
    against = [baseline] if isinstance(baseline, str) else list(dict.fromkeys(baseline or runs))
    for name in against:
        if name not in runs:
            raise InputError(f"baseline={name!r} was not evaluated; choose one of {', '.join(runs)}")
    if not 0 < level < 1:
        raise InputError(f"level={level} must lie between 0 and 1, such as 0.95")
    _check_alike(runs)
    values = {name: np.mean([run.value(metric) for run in some], axis=0) for name, some in runs.items()}
    if baseline:
        pairs = [
            (name, other) for place, other in enumerate(against) for name in runs if name not in against[: place + 1]
        ]
    else:
        pairs = list(combinations(runs, 2))
    rows, p_values = [], []
    for name, other in pairs:
        difference, low, high, p = paired_difference(values[name], values[other], level)
        p_values.append(p)
        rows.append(
            {
                "method": name,
                "against": other,
                "metric": metric,
                "users": len(values[name]),
                "mean": float(values[name].mean()),
                "mean_against": float(values[other].mean()),
                "difference": difference,
                "low": low,
                "high": high,
                "p": p,
            }
        )
    return pl.DataFrame(rows).with_columns(pl.Series("p_holm", holm(p_values)))


def _check_alike(runs: Mapping[str, Sequence[Evaluation]]) -> None:
    """All evaluations ask the same users for the same items under the same protocol, or InputError."""
    first_name, (first, *_) = next(iter(runs.items()))
    for name, some in runs.items():
        for run in some:
            for what in ("protocol", "split", "part", "seed", "candidates"):
                mine, other = getattr(run, what), getattr(first, what)
                if mine != other:
                    raise InputError(f"{first_name} and {name} cannot be compared: {what} {other!r} and {mine!r}")
            if not (np.array_equal(run.users, first.users) and np.array_equal(run.targets, first.targets)):
                raise InputError(f"{first_name} and {name} cannot be compared: they rank other users or targets")
