"""Scores of pairs of a user and an item, a block of them at a time."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def score_pairs(score: Callable[[Tensor, Tensor], Tensor], users: Tensor, items: Tensor, at_once: int) -> Tensor:
    """Score every user with every candidate, or with those of its own.

    Args:
        score: `(rows, 1, ...)` of users and `(rows or 1, columns, ...)` of items -> `(rows, columns)`.
        users: `(batch, dim)`.
        items: `(1, candidates, ...)` for all users, or `(batch, candidates, ...)`.
        at_once: the most pairs of a block.

    Returns:
        `(batch, candidates)`.
    """
    columns = min(items.shape[1], at_once)
    rows = at_once // columns
    scores = users.new_empty(len(users), items.shape[1])
    for begin in range(0, len(users), rows):
        some = users[begin : begin + rows, None]
        theirs = items if len(items) == 1 else items[begin : begin + rows]
        for first in range(0, items.shape[1], columns):
            block = theirs[:, first : first + columns]
            scores[begin : begin + rows, first : first + columns] = score(some, block)
    return scores
