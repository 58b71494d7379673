"""Hide single items of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from recloom.data.catalog import PAD


def mask_items(
    items: Tensor, mask_id: int, rate: float, generator: torch.Generator, *, always_last: bool = False
) -> tuple[Tensor, Tensor]:
    """Replace each real item by the mask with one probability, independently.

    Args:
        items: `(batch, length)` int64, right-padded.
        mask_id: what stands in place of a hidden item.
        rate: probability of hiding an item.
        always_last: also hide the last real item of every row, where serving asks for a prediction (S3-Rec's code).

    Returns:
        seen: `(batch, length)`, the items with some hidden.
        hidden: `(batch, length)` bool, True where an item was hidden; never on padding.
    """
    valid = items != PAD
    hidden = torch.rand(items.shape, generator=generator, device=items.device) < rate
    hidden &= valid
    if always_last:
        hidden[torch.arange(len(items), device=items.device), valid.sum(1) - 1] = True
    return items.masked_fill(hidden, mask_id), hidden
