"""Hide single items of a row, each with a probability, or a share of them."""

from __future__ import annotations

import torch
from torch import Tensor

from recloom.data.catalog import PAD
from recloom.views.draw_places import draw_places
from recloom.views.floor_share import floor_share


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


def mask_share(items: Tensor, mask_id: int, ratio: float, generator: torch.Generator, *, least: int = 0) -> Tensor:
    """Replace `floor(ratio * length)` items of each row, drawn without replacement, by the mask.

    Args:
        items: `(batch, length)` int64, right-padded.
        least: so many of each row at the least, at most all of them.

    Source: Xie et al., CL4SRec, ICDE 2022.
    """
    valid = items != PAD
    sizes = floor_share(valid.sum(1), ratio).clamp_(min=least)
    return items.masked_fill(draw_places(valid, sizes, generator), mask_id)
