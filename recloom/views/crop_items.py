"""Keep a run of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from recloom.data.catalog import PAD
from recloom.views.floor_share import floor_share


def crop_items(items: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """A run of `floor(ratio * length)` neighbouring items at a uniform place, at least one; it begins the new row.

    Args:
        items: `(batch, length)` int64, right-padded; a row of one item stays as it is.

    Returns:
        `(batch, length)`, right-padded.

    Source: Xie et al., CL4SRec, ICDE 2022.
    """
    lengths = (items != PAD).sum(1)
    sizes = floor_share(lengths, ratio).clamp_(min=1)
    drawn = torch.rand(len(items), generator=generator, device=items.device, dtype=torch.float64)
    starts = (drawn * (lengths - sizes + 1)).long()
    at = torch.arange(items.shape[1], device=items.device)
    place = (starts[:, None] + at).clamp_(max=items.shape[1] - 1)
    return items.gather(1, place).masked_fill(at >= sizes[:, None], PAD)
