"""One vector an item from the set of its attributes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.catalog import Catalog
from recloom.errors import InputError
from recloom.nn import Ragged

POOLINGS = ("mean", "sum", "attention")


class AttributeEmbedding(nn.Module):
    """A learned vector for each attribute; an item is the mean, the sum or an attentive mixture of its own.

    Args:
        catalog: which items have which attributes.
        dim: width.
        pooling: "mean", "sum", or "attention": a softmax over the item's attributes of a two-layer score of each
            (`Linear(dim, dim)`, ReLU, `Linear(dim, 1)`), the vanilla attention of Zhang et al., FDSA, IJCAI 2019.
        dropout: while training, each attribute of each occurrence of an item is left out with this rate. Mean and
            attention are taken over those kept, the sum is divided by `1 - dropout`.
        std: standard deviation of the initial weights; biases start at 0.

    Attributes:
        weight: `(n_attributes + 1, dim)`. Row 0 belongs to no item: pretexts use it as a class that is always false.

    Raises:
        InputError: the catalog has no attributes; an unknown pooling; a rate outside 0..1.
    """

    def __init__(
        self, catalog: Catalog, dim: int, *, pooling: str = "mean", dropout: float = 0.0, std: float = 0.02
    ) -> None:
        super().__init__()
        if not catalog.n_attributes:
            raise InputError(
                "the items of this data have no attributes. Give them with `recloom prepare LOG --items ITEMS "
                "--attributes COLUMN`, or train a method that needs actions alone, such as sasrec; "
                "`recloom methods` says what each needs"
            )
        if pooling not in POOLINGS:
            raise InputError(f"pooling={pooling!r} is not known; choose one of {', '.join(POOLINGS)}")
        if not 0 <= dropout < 1:
            raise InputError(f"attribute_dropout={dropout} must be at least 0 and below 1")
        self.dim, self.pooling, self.dropout = dim, pooling, dropout
        self.of_items = Ragged(catalog.attribute_offsets, catalog.attribute_values)
        self.weight = nn.Parameter(torch.randn(catalog.n_attributes + 1, dim) * std)
        if pooling == "attention":
            self.hidden, self.score = nn.Linear(dim, dim), nn.Linear(dim, 1)
            for layer in (self.hidden, self.score):
                nn.init.normal_(layer.weight, 0, std)
                nn.init.zeros_(layer.bias)

    def forward(self, ids: Tensor) -> Tensor:
        """`(...)` int64 ids -> `(..., dim)`; an item without attributes, padding and mask give the zero vector."""
        values, offsets = self.of_items(ids.flatten())
        pooled = F.embedding_bag(
            values,
            self.weight,
            offsets,
            mode="sum",
            include_last_offset=True,
            per_sample_weights=self._shares(values, offsets),
        )
        return pooled.view(*ids.shape, self.dim)

    def _shares(self, values: Tensor, offsets: Tensor) -> Tensor:
        """What each of the `(m,)` listed attributes counts in its item's vector, `(m,)`."""
        kept = torch.ones(len(values), dtype=self.weight.dtype, device=values.device)
        if self.training and self.dropout:
            kept = (torch.rand_like(kept) >= self.dropout).to(kept.dtype)
        if self.pooling == "sum":
            return kept / (1 - self.dropout) if self.training else kept
        rows = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=values.device), offsets.diff())
        if self.pooling == "attention":
            kept = self._exponentials(values, kept, rows, len(offsets) - 1)
        total = kept.new_zeros(len(offsets) - 1).index_add(0, rows, kept)
        return kept / torch.where(total > 0, total, 1)[rows]

    def _exponentials(self, values: Tensor, kept: Tensor, rows: Tensor, n_rows: int) -> Tensor:
        """`exp(score)` over the largest of its row, `(m,)`; 0 for what is left out."""
        few = len(values) < len(self.weight)
        vectors = F.embedding(values, self.weight) if few else self.weight
        scores = self.score(F.relu(self.hidden(vectors)))[:, 0].to(kept.dtype)
        scores = (scores if few else scores[values]).masked_fill(kept == 0, -torch.inf)
        largest = scores.new_full((n_rows,), -torch.inf).scatter_reduce(0, rows, scores.detach(), "amax")
        return (scores - torch.where(largest.isfinite(), largest, 0)[rows]).exp()
