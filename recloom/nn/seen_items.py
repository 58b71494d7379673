"""What it means for an item's score that it stands in the history already."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SCALE = 10.0
"""Of the parameters: a scalar that has to travel far moves at the pace of the other weights' optimiser."""


class SeenItems(nn.Module):
    """Terms for the items of a row, `base + recency[steps since it last stood there] + again * (times - 1)`.

    All start at 0. Where people never take an item twice, `base` goes far below 0 and nothing seen is recommended;
    where they do, recency and number of times say what they come back to.

    Args:
        length: the longest row.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.base, self.again = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.recency = nn.Parameter(torch.zeros(length))

    def forward(self, items: Tensor) -> Tensor:
        """`(batch, width)` right-padded ids -> terms of the same shape; those of an item's places add up to its own."""
        valid = items != 0
        width = items.shape[1]
        later = torch.ones(width, width, dtype=torch.bool, device=items.device).triu(1)
        last = valid & ~((items[:, :, None] == items[:, None, :]) & later).any(2)
        since = (valid.sum(1, keepdim=True) - 1 - torch.arange(width, device=items.device)).clamp(min=0)
        terms = torch.where(last, self.base + self.recency[since.clamp(max=len(self.recency) - 1)], self.again)
        return SCALE * terms * valid


def add_terms(scores: Tensor, items: Tensor, terms: Tensor) -> Tensor:
    """Scores of all ids, `(batch, n_items + 2)`, with the terms of each row's items added; a new tensor."""
    return scores.scatter_add(1, items, terms.to(scores.dtype))
