"""How often an item occurs, as a part of its score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.errors import InputError


class Popularity(nn.Module):
    """Adds `weight * log(count)` of each item to its products with queries, as one more column of both.

    What a softmax over the items of a batch learns, where an item counts as often as it occurs, is how much likelier
    a history makes it: at its best `<query, item> = log p(item | history) - log p(item)`, up to a constant of the
    history. With a weight of 1 the sum ranks by `p(item | history)`, which is what a hit among all items asks for.
    Where candidates are themselves drawn by popularity, the products alone rank best.

    Args:
        counts: `(items,)`, how often each occurs in training; 0 counts as 1.
        weight: 0 adds no column.
        scale: what products are multiplied by where they are learned, if they are.

    Attributes:
        columns: how many columns it adds, 0 or 1.

    Source: van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018, section 2.3, for what
    is learned; the sum is Bayes' rule.
    """

    offsets: Tensor

    def __init__(self, counts: Tensor, weight: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        offsets = weight / scale * counts.clamp(min=1).float().log()
        if not weight >= 0 or not offsets.isfinite().all():
            raise InputError(
                f"popularity={weight} must be a weight, 0 or more: 0 leaves counts out, 1 adds their logarithm"
            )
        self.columns = int(weight > 0)
        self.register_buffer("offsets", offsets, persistent=False)

    def of_queries(self, vectors: Tensor) -> Tensor:
        """`(..., dim)` -> `(..., dim + columns)`."""
        return F.pad(vectors, (0, self.columns), value=1.0)

    def of_items(self, vectors: Tensor) -> Tensor:
        """`(items, dim)` -> `(items, dim + columns)`."""
        return torch.cat([vectors, self.offsets[:, None].to(vectors.dtype)], 1) if self.columns else vectors
