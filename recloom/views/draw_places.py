"""Some places of each row, by lot."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_places(valid: Tensor, sizes: Tensor, generator: torch.Generator) -> Tensor:
    """`sizes` of the valid places of each row, drawn without replacement; all of them where there are fewer.

    Args:
        valid: `(batch, length)` bool.
        sizes: `(batch,)`.

    Returns:
        `(batch, length)` bool.
    """
    keys = torch.rand(valid.shape, generator=generator, device=valid.device, dtype=torch.float64)
    return (keys.masked_fill(~valid, 2).argsort(1).argsort(1) < sizes[:, None]) & valid
