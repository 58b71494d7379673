"""The largest of many scores."""

from __future__ import annotations

import torch
from torch import Tensor

FOLDS = 8
"""`top_items` folds a row of scores so many times."""


def top_items(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, best first: `torch.topk`, in about half its time.

    Columns are folded into groups of `FOLDS`. The k groups of the largest maxima hold the k largest values,
    since a value outside them is at most as large as k maxima; so only those groups are searched.

    Args:
        scores: `(rows, width)`, contiguous; folded where width is a multiple of `FOLDS`.

    Returns:
        values and columns, `(rows, k)`. Among equal values any may be chosen.
    """
    rows, width = scores.shape
    if width % FOLDS or width < 4 * k * FOLDS:
        values, columns = torch.topk(scores, k)
        return values, columns
    maxima = scores.view(rows, FOLDS, width // FOLDS).amax(1)
    groups = torch.topk(maxima, k, sorted=False).indices
    within = torch.arange(0, width, width // FOLDS, device=scores.device)
    columns = (groups[:, None] + within[:, None]).flatten(1)
    values, chosen = torch.topk(scores.gather(1, columns), k)
    return values, columns.gather(1, chosen)
