"""Put items between those of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from recloom.data.catalog import PAD
from recloom.views.draw_places import draw_places


def insert_items(items: Tensor, inserted: Tensor, sizes: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Some places of a row, drawn without replacement, get an item before them; the order of the others stays.

    Args:
        items: `(batch, width)` int64, right-padded.
        inserted: `(batch, width)`, what would stand before each item.
        sizes: `(batch,)`, how many are inserted; at most as many as the row holds.
        length: the latest items that are kept.

    Returns:
        `(batch, <= length)`, right-padded.

    Source: Liu et al., CoSeRec, 2021, section 3.3.
    """
    valid = items != PAD
    lengths = valid.sum(1)
    sizes = torch.minimum(sizes, lengths)
    chosen = draw_places(valid, sizes, generator)
    place = torch.arange(items.shape[1], device=items.device) + chosen.cumsum(1)
    wide = items.new_zeros(len(items), items.shape[1] + int(sizes.max()) + 1)  # the last column takes what is nowhere
    wide.scatter_(1, torch.where(valid, place, wide.shape[1] - 1), items)
    wide.scatter_(1, torch.where(chosen, place - 1, wide.shape[1] - 1), inserted)
    total = lengths + sizes
    start = (total - length).clamp(min=0)[:, None]
    at = start + torch.arange(min(length, int(total.max())), device=items.device)
    return wide.gather(1, at.clamp(max=wide.shape[1] - 1)).masked_fill(at >= total[:, None], PAD)
