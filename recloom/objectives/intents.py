"""Several vectors of one past against one item, or against the several vectors of its future.

Scores are dot products over the square root of the width; all sums of exponentials are formed in logarithms.
Source of all: Ma et al., Disentangled Self-Supervision in Sequential Recommenders, KDD 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recloom.objectives.precision import at_least_fp32


def sequence_to_item(
    past: Tensor, following: Tensor, targets: Tensor | None = None, rows: Tensor | None = None
) -> Tensor:
    """The best intent of each past must find its item among those of the batch (equation 6).

    The numerator takes the best intent; the denominator holds every item of the batch against every intent.

    Args:
        past: `(batch, intents, dim)`.
        following: `(batch, dim)`, the vector of each row's next item; other rows' are the negatives.
        targets: `(n, dim)`, items to find instead of each row's next one, and the rows they belong to, `rows: (n,)`.

    Returns:
        `(batch,)` losses, or `(n,)`.
    """
    scores = at_least_fp32(torch.einsum("jkd,nd->jnk", past, following)) * past.shape[-1] ** -0.5
    if targets is None or rows is None:
        right = scores.diagonal(dim1=0, dim2=1).t()
        return scores.flatten(1).logsumexp(1) - right.amax(1)
    own = torch.eye(len(past), dtype=torch.bool, device=past.device)[..., None]
    others = scores.masked_fill(own, -torch.inf).flatten(1).logsumexp(1)
    right = at_least_fp32(torch.einsum("nkd,nd->nk", past[rows], targets)) * past.shape[-1] ** -0.5
    return torch.logaddexp(others[rows], right.logsumexp(1)) - right.amax(1)


def sequence_to_sequence(past: Tensor, future: Tensor) -> Tensor:
    """Each intent of a past must find the same intent of its own future among all of the batch (equation 3).

    Args:
        past, future: `(batch, intents, dim)`.

    Returns:
        `(batch, intents)` losses.
    """
    mine, theirs = past.flatten(0, 1), future.flatten(0, 1)
    scores = at_least_fp32(mine @ theirs.t()) * past.shape[-1] ** -0.5
    return (scores.logsumexp(1) - scores.diagonal()).view(past.shape[:2])


def trusted(losses: Tensor, share: float) -> Tensor:
    """The sum of the smallest `ceil(share * n)` of n losses, of all that equal the largest of them too (equation 4).

    A share of 0 gives 0. Which are taken is a constant: no gradient passes through the choice.
    """
    if not share:
        return losses.sum() * 0.0
    flat = losses.flatten()
    kept = max(1, math.ceil(round(share * len(flat), 9)))
    threshold = flat.detach().kthvalue(kept).values
    return flat[flat.detach() <= threshold].sum()
