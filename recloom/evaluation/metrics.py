"""Metrics of ranks and of recommended lists; one value per user, so that intervals and tests come for free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from recloom.data.sequences import places_of
from recloom.errors import InputError

Floats = NDArray[np.float64]

LIST_CELLS = 1 << 22
PAIRS_AT_ONCE = 1 << 20
"""Entries of lists compared with targets at one time."""


def cut_offs(k: int | Sequence[int]) -> tuple[int, ...]:
    """Cut-offs, ascending, of one or several.

    Raises:
        InputError: none, or one that is no whole number from 1 on.
    """
    given = list(k) if isinstance(k, Iterable) else [k]
    if not given or not all(isinstance(cut, (int, np.integer)) and cut >= 1 for cut in given):
        raise InputError(f"k={k!r} must be whole numbers from 1 on, such as (5, 10, 20)")
    return tuple(sorted({int(cut) for cut in given}))


def hit_rate(ranks: NDArray[np.int64], k: int) -> Floats:
    """1 where the target is among the first k, else 0; `(users,)`. With one target this is Recall@k too.

    Args:
        ranks: 1-based ranks of the targets, `(users,)`.

    >>> hit_rate(np.array([1, 5, 6]), 5).tolist()
    [1.0, 1.0, 0.0]
    """
    return (ranks <= k).astype(np.float64)


def ndcg(ranks: NDArray[np.int64], k: int) -> Floats:
    """Normalised discounted cumulative gain of one target: 1 / log2(rank + 1) among the first k, else 0.

    >>> ndcg(np.array([1, 3, 6]), 5).tolist()
    [1.0, 0.5, 0.0]
    """
    return np.where(ranks <= k, 1 / np.log2(ranks + 1.0), 0.0)


def mrr(ranks: NDArray[np.int64]) -> Floats:
    """Reciprocal rank, `(users,)`; it needs exact ranks.

    >>> mrr(np.array([1, 4])).tolist()
    [1.0, 0.25]
    """
    return 1.0 / ranks


def recall(
    lists: NDArray[np.int32], rows: NDArray[np.int64], targets: NDArray[np.int64], k: tuple[int, ...]
) -> dict[int, Floats]:
    """Share of each user's distinct targets in the first k entries of the list, `(users,)` for every k.

    Args:
        lists: recommended items, best first, `(users, kmax)`; 0 fills up a short list.
        rows, targets: the targets of all users, flat: `targets[j]` belongs to user `lists[rows[j]]`.
        k: the cut-offs, none above kmax.
    """
    span = int(max(lists.max(initial=0), targets.max(initial=0))) + 1
    pairs = np.unique(rows * span + targets)
    rows, targets = pairs // span, pairs % span
    asked = np.maximum(np.bincount(rows, minlength=len(lists)), 1)
    found = np.full(len(pairs), lists.shape[1], dtype=np.int64)
    step = max(1, LIST_CELLS // max(lists.shape[1], 1))
    for begin in range(0, len(pairs), step):
        part = slice(begin, begin + step)
        match = lists[rows[part]] == targets[part, None]
        found[part] = np.where(match.any(1), match.argmax(1), lists.shape[1])
    return {cut: np.bincount(rows[found < cut], minlength=len(lists)) / asked for cut in k}


def coverage(lists: NDArray[np.int32], n_items: int, k: int) -> float:
    """Share of the catalogue that is recommended to somebody among the first k.

    >>> coverage(np.array([[1, 2], [1, 3]], dtype=np.int32), 4, 2)
    0.75
    """
    seen = np.zeros(n_items + 1, dtype=bool)
    seen[lists[:, :k].ravel()] = True
    return float(seen[1:].sum() / n_items)


def mean_popularity(lists: NDArray[np.int32], counts: NDArray[np.int64], k: int) -> Floats:
    """Mean training actions of the first k items of each list, `(users,)`; an empty list gives 0.

    Args:
        counts: training actions by item, `(n_items + 2,)`.
    """
    return _mean_of_items(lists[:, :k], counts.astype(np.float64))


def novelty(lists: NDArray[np.int32], counts: NDArray[np.int64], k: int) -> Floats:
    """Mean self-information of the first k items of each list in bits, `(users,)`; an empty list gives 0.

    An item's information is -log2 of its share of all training actions; an item without any counts as one
    action, so that the value stays finite.

    Args:
        counts: training actions by item, `(n_items + 2,)`.
    """
    return _mean_of_items(lists[:, :k], -np.log2(np.maximum(counts, 1) / max(counts.sum(), 1)))


def list_distance(lists: NDArray[np.int32], offsets: NDArray[np.int64], values: NDArray[np.int32], k: int) -> Floats:
    """How unlike the first k items of each list are, `(users,)`: the mean over pairs of one less the shared part of
    their attributes (Jaccard). Items without attributes share nothing; a list of one item gives 0.

    Args:
        offsets, values: the attributes of item i are `values[offsets[i]:offsets[i + 1]]`.
    """
    first, second = np.triu_indices(min(k, lists.shape[1]), 1)
    one, two = lists[:, first], lists[:, second]
    real = (one > 0) & (two > 0)
    span = len(offsets)
    pairs, place = np.unique(
        np.minimum(one, two)[real] * np.int64(span) + np.maximum(one, two)[real], return_inverse=True
    )
    low, high = np.divmod(pairs, span)
    counts = np.diff(offsets)
    shared = np.zeros(len(pairs))
    for begin in range(0, len(pairs), PAIRS_AT_ONCE):
        part = slice(begin, begin + PAIRS_AT_ONCE)
        both = np.intersect1d(_keys(low[part], offsets, values), _keys(high[part], offsets, values), assume_unique=True)
        width = int(values.max(initial=0)) + 1
        shared[part] = np.bincount(both // width, minlength=len(low[part]))
    union = counts[low] + counts[high] - shared
    distance = np.zeros(one.shape)
    distance[real] = (1 - shared / np.maximum(union, 1))[place]
    return np.asarray(distance.sum(1) / np.maximum(real.sum(1), 1))


def _keys(items: NDArray[np.int64], offsets: NDArray[np.int64], values: NDArray[np.int32]) -> NDArray[np.int64]:
    """One number for each attribute of each of the items: its place and the attribute."""
    counts = offsets[items + 1] - offsets[items]
    found = values[places_of(offsets[items], counts)]
    return np.repeat(np.arange(len(items)), counts) * (int(values.max(initial=0)) + 1) + found


def _mean_of_items(lists: NDArray[np.int32], value: Floats) -> Floats:
    real = lists > 0
    return np.asarray((value[lists] * real).sum(1) / np.maximum(real.sum(1), 1))
