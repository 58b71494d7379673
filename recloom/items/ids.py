"""One learned vector an item."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.catalog import Catalog
from recloom.items.embedder import ItemEmbedder


class IdEmbedding(ItemEmbedder):
    """A free vector for each item, drawn from a normal distribution.

    Args:
        catalog: says how many items there are.
        dim: width.
        std: standard deviation of the initial vectors.
    """

    def __init__(self, catalog: Catalog, dim: int, std: float = 0.02) -> None:
        super().__init__()
        self.n_items, self.dim = catalog.n_items, dim
        self.weight = nn.Parameter(torch.randn(catalog.n_rows, dim) * std)
        self.weight.data[0] = 0

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight, padding_idx=0)

    def table(self) -> Tensor:
        return self.weight
