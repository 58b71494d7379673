"""Items and encoder together: what pre-training hands to fine-tuning."""

from __future__ import annotations

from torch import Tensor, nn

from recloom.data.catalog import PAD
from recloom.encoders.encoder import Encoder
from recloom.errors import InputError
from recloom.items.embedder import ItemEmbedder


class Backbone(nn.Module):
    """An item embedder under an encoder.

    Args:
        items: ids to vectors.
        encoder: vectors to states, of the same width.
    """

    def __init__(self, items: ItemEmbedder, encoder: Encoder) -> None:
        super().__init__()
        if items.dim != encoder.dim:
            raise InputError(f"items are {items.dim} wide and the encoder {encoder.dim}; give both the same dim")
        self.items, self.encoder = items, encoder

    def forward(self, ids: Tensor, context: str = "causal") -> Tensor:
        """`(batch, length)` ids -> `(batch, length, dim)` states."""
        return self.encoder(self.items(ids), ids != PAD, context)
