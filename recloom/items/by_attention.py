"""Items as what their attributes make of them: the item attends to its own attributes."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recloom.data.catalog import PAD, Catalog
from recloom.errors import InputError
from recloom.items.attributes import AttributeEmbedding
from recloom.items.embedder import ItemEmbedder
from recloom.items.ids import IdEmbedding
from recloom.nn.transformer_blocks import BertBlock

FORMS = ("attcc", "att", "meancc")

TOKENS_AT_ONCE = 1 << 15
"""Items and attributes that attend to each other at one time. Of more than twice as many no inner state is kept for
the gradients; it is formed again."""


class ItemsByAttention(ItemEmbedder):
    """A Transformer without positions reads an item and its attributes; what it makes of the item is the vector.

    Args:
        catalog: items and their attributes.
        dim: width of the vectors of items and attributes.
        form: "att": what the Transformer makes of the item, `dim` wide; "attcc": the item's own vector beside that,
            `2 dim`; "meancc": the own vector beside the mean of the attributes', `2 dim`.
        layers, heads: of the Transformer; ReLU, a feed-forward of width `dim`, post-norm.
        dropout: rate in all its places while training: each call draws anew.

    An item without an action in training has an own vector of zero: it is what its attributes say.

    Source: Qiu et al., MMInfoRec, ICDM 2021, section 4.1 ("att"), and the authors' code ("attcc", "meancc").

    Raises:
        InputError: a catalog without attributes, an unknown form.
    """

    scored_by = "items"
    trained: Tensor

    def __init__(
        self,
        catalog: Catalog,
        dim: int,
        *,
        form: str = "attcc",
        layers: int = 1,
        heads: int = 1,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise InputError(f"items={form!r} is not known; choose one of {', '.join(FORMS)} or id")
        self.n_items, self.form, self.dim = catalog.n_items, form, dim if form == "att" else 2 * dim
        self.ids, self.attributes = IdEmbedding(catalog, dim), AttributeEmbedding(catalog, dim)
        self.blocks = nn.ModuleList(
            BertBlock(dim, heads, dropout, dropout, dim, "relu", dropout, eps=1e-5)
            for _ in range(layers if form != "meancc" else 0)
        )
        self.register_buffer("trained", torch.from_numpy(catalog.trained)[:, None], persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """`(...)` ids -> `(..., dim)`: each distinct item is encoded once."""
        distinct, place = ids.unique(return_inverse=True)
        return F.embedding(place, self.encode(distinct)) * (ids != PAD)[..., None]

    def encode(self, ids: Tensor) -> Tensor:
        """`(n,)` ids, each with its own draw of dropout -> `(n, dim)`."""
        own = self.ids(ids) * self.trained[ids]
        if self.form == "meancc":
            return torch.cat([own, self.attributes(ids)], 1)
        counts = self.attributes.of_items.offsets.diff()[ids]
        like = (counts + 1).log2().ceil().long()  # items with like numbers of attributes, so that little is padding
        many = torch.is_grad_enabled() and int(counts.sum()) + len(counts) > 2 * TOKENS_AT_ONCE
        attend = partial(checkpoint, self._attend, use_reentrant=False) if many else self._attend
        order, widths = like.argsort(stable=True), []
        for size, n in enumerate(like.bincount().tolist()):
            at_once = max(1, TOKENS_AT_ONCE >> size)
            widths += [min(at_once, n - begin) for begin in range(0, n, at_once)]
        groups = zip(*(of_item[order].split(widths) for of_item in (ids, own, counts)), strict=True)
        read = torch.cat([own[:0], *(attend(*group) for group in groups)])[order.argsort()]
        return read if self.form == "att" else torch.cat([own, read], 1)

    def table(self) -> Tensor:
        """All items, `(n_items + 2, dim)`, some at a time."""
        ids = torch.arange(self.n_items + 2, device=self.ids.weight.device)
        return torch.cat([self.encode(some) for some in ids.split(4096)]) * (ids != PAD)[:, None]

    def _attend(self, ids: Tensor, own: Tensor, counts: Tensor) -> Tensor:
        """The item stands behind its attributes, so that its state is the last of the row, `(n, dim)`."""
        values, _ = self.attributes.of_items(ids)
        at = torch.arange(int(counts.max()) + 1, device=ids.device)
        listed, valid = at < counts[:, None], at <= counts[:, None]
        states = F.embedding(
            torch.zeros_like(listed, dtype=torch.int64).masked_scatter(listed, values), self.attributes.weight
        )
        states = torch.where((at == counts[:, None])[..., None], own[:, None], states)
        for block in self.blocks[:-1]:
            states = block(states, valid, False)
        found: Tensor = self.blocks[-1].at(states, valid, False, counts[:, None])  # type: ignore[operator]
        return found[:, 0]
