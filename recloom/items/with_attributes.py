"""Items as what they are called and what they are like: a vector of their own joined with their attributes'."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recloom.data.catalog import PAD, Catalog
from recloom.errors import InputError, refuse_unread
from recloom.items.attributes import AttributeEmbedding
from recloom.items.embedder import ItemEmbedder
from recloom.items.ids import IdEmbedding

ROWS_AT_ONCE = 4096
"""Items whose joined vectors are formed at one time."""

CHOICES = {
    "join": ("concat", "mean", "side-by-side"),
    "scored_by": ("ids", "items"),
    "cold": ("attributes", "as-is"),
}


class ItemsWithAttributes(ItemEmbedder):
    """An item's own vector joined with the pooled vectors of its attributes.

    Args:
        catalog: items, their attributes and their counts.
        dim: width of an item's own vector, of the attributes, and of the table.
        join: "concat": `W [id; attributes]`, `2 dim -> dim` (SASRec_F); "mean": the sum of the id vector and the
            pooled attributes, mean attributes with `pooling="mean"` (ours); "side-by-side": `[id; attributes]`,
            `2 dim` wide, for an encoder that reads each half on its own.
        pooling: of the attributes; see `AttributeEmbedding`.
        scored_by: what states are compared with, "ids" (the items' own vectors, as published) or "items" (the joined
            vectors, so that an item can be found by its attributes).
        attribute_dropout: rate at which an attribute of an occurrence is left out while training.
        id_dropout: rate at which the own vector of an occurrence counts as zero while training, in rows and table
            alike, so that the attributes alone must do. With `scored_by="items"` a rate such as 0.2 is what makes
            cold items findable: without it the attributes learn only what own vectors leave to them.
        cold: with `scored_by="items"`, an item without an action in training has an own vector that was never
            learnt. "attributes" counts it as zero, so that the item is known by its attributes alone; "as-is" keeps
            it. Without any counts in the catalog nothing is zeroed.
        std: standard deviation of the initial weights; the bias of the join starts at 0.

    Raises:
        InputError: a catalog without attributes; an unknown choice; a rate outside 0..1; "side-by-side" with
            `scored_by="items"`, whose joined vectors are wider than the states.
    """

    trained: Tensor

    def __init__(
        self,
        catalog: Catalog,
        dim: int,
        *,
        join: str = "concat",
        pooling: str = "mean",
        scored_by: str = "ids",
        attribute_dropout: float = 0.0,
        id_dropout: float = 0.0,
        cold: str = "attributes",
        std: float = 0.02,
    ) -> None:
        super().__init__()
        for name, value in (("join", join), ("scored_by", scored_by), ("cold", cold)):
            if value not in CHOICES[name]:
                raise InputError(f"{name}={value!r} is not known; choose one of {', '.join(CHOICES[name])}")
        if join == "side-by-side" and scored_by == "items":
            raise InputError(
                "scored_by='items' needs joined vectors as wide as the states; join='side-by-side' makes them twice "
                "as wide. Choose scored_by='ids', or join='concat' or 'mean'"
            )
        if scored_by == "ids":
            refuse_unread(
                ItemsWithAttributes, {"cold": cold}, "scored_by='ids' compares with own vectors; leave it out"
            )
        if not 0 <= id_dropout < 1:
            raise InputError(f"id_dropout={id_dropout} must be at least 0 and below 1")
        self.n_items, self.dim = catalog.n_items, 2 * dim if join == "side-by-side" else dim
        self.how, self.scored_by, self.id_dropout = join, scored_by, id_dropout
        self.ids = IdEmbedding(catalog, dim, std)
        self.attributes = AttributeEmbedding(catalog, dim, pooling=pooling, dropout=attribute_dropout, std=std)
        if join == "concat":
            self.join = nn.Linear(2 * dim, dim)
            nn.init.normal_(self.join.weight, 0, std)
            nn.init.zeros_(self.join.bias)
        self.zeroes_cold = scored_by == "items" and cold == "attributes"
        self.register_buffer("trained", torch.from_numpy(catalog.trained), persistent=False)

    @property
    def table_dim(self) -> int:
        return self.ids.dim

    def forward(self, ids: Tensor) -> Tensor:
        return self._joined(self.ids(ids), ids)

    def _joined(self, own: Tensor, ids: Tensor) -> Tensor:
        """Items' own vectors, `(..., dim)`, and those of their attributes."""
        own, attributes = self._kept(own, ids), self.attributes(ids)
        if self.how == "mean":
            return own + attributes
        both = torch.cat([own, attributes], -1)
        return both if self.how == "side-by-side" else self.join(both) * (ids != PAD)[..., None]

    def table(self) -> Tensor:
        """The items' own vectors, or with `scored_by="items"` the joined ones, `(n_items + 2, dim)`."""
        if self.scored_by == "ids":
            return self.ids.weight
        ids = torch.arange(self.n_items + 2, device=self.ids.weight.device)
        parts = zip(self.ids.weight.split(ROWS_AT_ONCE), ids.split(ROWS_AT_ONCE), strict=True)
        return torch.cat([self._joined(own, some) for own, some in parts])

    def _kept(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """The items' own vectors, zero where they are dropped or were never learnt."""
        if self.zeroes_cold:
            vectors = vectors * self.trained[ids][..., None]
        if self.training and self.id_dropout:
            vectors = vectors * (torch.rand(ids.shape, device=ids.device) >= self.id_dropout)[..., None]
        return vectors
