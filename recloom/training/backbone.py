"""Items and encoder together: what pre-training hands to fine-tuning."""

from __future__ import annotations

from torch import Tensor, nn

from recloom.data.catalog import PAD
from recloom.encoders.encoder import Encoder
from recloom.errors import InputError
from recloom.items.embedder import ItemEmbedder
from recloom.nn.packing import Packing


class Backbone(nn.Module):
    """An item embedder under an encoder.

    Args:
        items: ids to vectors.
        encoder: vectors of the embedder's width to states of its table's width.

    Raises:
        InputError: widths that do not fit.
    """

    def __init__(self, items: ItemEmbedder, encoder: Encoder) -> None:
        super().__init__()
        if items.dim != encoder.input_dim:
            raise InputError(
                f"items are {items.dim} wide, but the encoder reads {encoder.input_dim}; give both one dim"
            )
        if items.table_dim != encoder.dim:
            raise InputError(
                f"the item table is {items.table_dim} wide and the encoder's states {encoder.dim}; give both one dim"
            )
        self.items, self.encoder = items, encoder

    def forward(self, ids: Tensor, context: str = "causal") -> Tensor:
        """`(batch, length)` ids -> `(batch, length, dim)` states."""
        if (packed := self.encoder.packing(ids != PAD)) is not None:
            return packed.unpack(self._of_packed(ids, packed, None, context))
        return self.encoder(self.items(ids), ids != PAD, context)

    def last(self, ids: Tensor, context: str = "causal") -> Tensor:
        """The states at the last real positions alone, `(batch, dim)`."""
        if (packed := self.encoder.packing(ids != PAD)) is not None:
            return self._of_packed(ids, packed, packed.ends, context)
        return self.encoder.last(self.items(ids), ids != PAD, context)

    def at(self, ids: Tensor, places: Tensor, context: str = "causal") -> Tensor:
        """The states at some real positions alone, row after row: `places: (batch, length)` of bool -> `(n, dim)`."""
        if (packed := self.encoder.packing(ids != PAD)) is not None:
            return self._of_packed(ids, packed, packed.slots_of(places), context)
        return self.encoder.at(self.items(ids), ids != PAD, places, context)

    def _of_packed(self, ids: Tensor, packed: Packing, slots: Tensor | None, context: str) -> Tensor:
        """Rows are packed as ids, so that no vector of padding is ever formed."""
        return self.encoder.of_packed(self.items(packed.pack(ids)), packed, slots, context)
