"""Rows of very different lengths, read in groups of like length, so that little of the work is done on padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GROUP_COST = 400
"""What one more group costs, in positions."""

WORTH = 0.8
"""Groups are made if they leave at most this share of the positions."""


def groups_of_like_length(lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Row numbers by ascending length, cut where padding and number of groups together cost least.

    A group of n rows costs n times its longest row, and `GROUP_COST`. Exact, by dynamic programming over the lengths.
    """
    order = np.argsort(lengths, kind="stable")
    distinct, ends = np.unique(lengths, return_counts=True)
    ends = np.concatenate([[0], ends.cumsum()])
    least, cut = np.zeros(len(ends)), np.zeros(len(ends), dtype=np.int64)
    for stop in range(1, len(ends)):
        costs = least[:stop] + (ends[stop] - ends[:stop]) * distinct[stop - 1] + GROUP_COST
        cut[stop] = costs.argmin()
        least[stop] = costs[cut[stop]]
    groups, stop = [], len(distinct)
    while stop:
        groups.append(order[ends[cut[stop]] : ends[stop]])
        stop = int(cut[stop])
    return groups[::-1]


def by_like_length(read: Callable[..., Tensor], vectors: Tensor, valid: Tensor, *masks: Tensor) -> Tensor:
    """What `read(vectors, valid, *masks)` returns, computed for groups of rows of like length where that saves much.

    Args:
        read: of rows independent of each other, right-padded, one state a position.
        vectors: `(batch, length, dim)`.
        valid: `(batch, length)`.
        masks: as `valid`; false on padding.

    Returns:
        `(batch, length, dim)`; states on padding mean nothing, and are zero behind the longest row of a group.
    """
    plan = _plan(valid)
    if plan is None:
        return read(vectors, valid, *masks)
    _, index, shapes = plan
    states = torch.cat([part.flatten(0, 1) for part in _parts(read, vectors, (valid, *masks), index, shapes)])
    flat = states.new_zeros(valid.numel(), states.shape[1]).index_copy(0, index, states)
    return flat.view(*valid.shape, -1)


def last_by_like_length(read: Callable[[Tensor, Tensor], Tensor], vectors: Tensor, valid: Tensor) -> Tensor:
    """As `by_like_length` for a `read` that returns one thing a row, such as a state: `(batch, ...)`."""
    plan = _plan(valid)
    if plan is None:
        return read(vectors, valid)
    order, index, shapes = plan
    return torch.cat(_parts(read, vectors, (valid,), index, shapes)).index_select(0, order.argsort())


def _plan(valid: Tensor) -> tuple[Tensor, Tensor, list[tuple[int, int]]] | None:
    """Rows as they are computed, group after group, their flat places, and each group's `(rows, width)`.

    None where all rows are read at one time.
    """
    lengths = valid.sum(1).numpy()
    if lengths.sum() > WORTH * valid.numel():
        return None
    groups = groups_of_like_length(lengths)
    shapes = [(len(rows), int(lengths[rows[-1]])) for rows in groups]
    if sum(rows * width for rows, width in shapes) > WORTH * valid.numel():
        return None
    places = [
        (rows[:, None] * valid.shape[1] + np.arange(width)).ravel()
        for rows, (_, width) in zip(groups, shapes, strict=True)
    ]
    return torch.from_numpy(np.concatenate(groups)), torch.from_numpy(np.concatenate(places)), shapes


def _parts(
    read: Callable[..., Tensor],
    vectors: Tensor,
    masks: tuple[Tensor, ...],
    index: Tensor,
    shapes: list[tuple[int, int]],
) -> list[Tensor]:
    sizes = [rows * width for rows, width in shapes]
    some = vectors.flatten(0, 1).index_select(0, index).split(sizes)
    known = zip(*(mask.flatten()[index].split(sizes) for mask in masks), strict=True)
    return [
        read(part.view(*shape, -1), *(mask.view(shape) for mask in real))
        for part, real, shape in zip(some, known, shapes, strict=True)
    ]
