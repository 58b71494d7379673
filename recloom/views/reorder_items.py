"""Shuffle a run of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from recloom.data.catalog import PAD
from recloom.views.floor_share import floor_share


def reorder_items(items: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """The items of a run of `floor(ratio * length)` in random order, the run at a uniform place; the rest stays.

    Args:
        items: `(batch, length)` int64, right-padded.

    Source: Xie et al., CL4SRec, ICDE 2022.
    """
    lengths = (items != PAD).sum(1)
    sizes = floor_share(lengths, ratio)
    drawn = torch.rand(len(items), generator=generator, device=items.device, dtype=torch.float64)
    starts = (drawn * (lengths - sizes + 1)).long()
    at = torch.arange(items.shape[1], device=items.device)
    inside = (at >= starts[:, None]) & (at < (starts + sizes)[:, None])
    keys = torch.rand(items.shape, generator=generator, device=items.device, dtype=torch.float64)
    keys = torch.where(inside, starts[:, None] + keys * sizes[:, None], at.double() + (at >= (starts + sizes)[:, None]))
    return items.gather(1, keys.argsort(dim=1, stable=True))
