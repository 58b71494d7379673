"""Exchange items of a row for others."""

from __future__ import annotations

import torch
from torch import Tensor

from recloom.data.catalog import PAD
from recloom.views.draw_places import draw_places
from recloom.views.floor_share import floor_share


def substitute_items(items: Tensor, others: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """Exchange `floor(ratio * length)` items of each row, at least one, drawn without replacement.

    Args:
        items: `(batch, length)` int64, right-padded.
        others: `(batch, length)`, what would stand in place of each item.

    Source: Liu et al., CoSeRec, 2021, section 3.3.
    """
    valid = items != PAD
    sizes = floor_share(valid.sum(1), ratio).clamp_(min=1)
    return torch.where(draw_places(valid, sizes, generator), others, items)
