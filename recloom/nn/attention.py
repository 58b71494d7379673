"""Multi-head self-attention over right-padded rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.errors import InputError
from recloom.nn.dropout import dropout


class SelfAttention(nn.Module):
    """Scaled dot-product attention with separate query and key inputs.

    Args:
        dim: width of the inputs and outputs.
        heads: number of heads; must divide `dim`.
        dropout: rate on the attention weights while training.

    Causal attention needs no padding mask: rows are right-padded, so a real position never sees padding.
    Bidirectional attention hides padded keys; no row is empty, so none is fully hidden. Packed rows say what each
    position sees, itself at least: `valid: (batch, length, length)`, where `causal` has no say (see `nn.packing`).
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"dim={dim} is not a multiple of heads={heads}; choose heads that divide dim")
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, asking: Tensor, read: Tensor, valid: Tensor, causal: bool) -> Tensor:
        """`asking, read: (batch, length, dim)`, `valid: (batch, length)` -> `(batch, length, dim)`."""
        batch, length, dim = asking.shape
        if asking is read:  # one product instead of two
            weight = torch.cat([self.query.weight, self.key_value.weight])
            bias = torch.cat([self.query.bias, self.key_value.bias])
            query, key, value = self._by_heads(F.linear(asking, weight, bias))
        else:
            (query,), (key, value) = self._by_heads(self.query(asking)), self._by_heads(self.key_value(read))
        if valid.dim() == 3:
            mask: Tensor | None = valid[:, None]
        else:
            mask = None if causal else valid[:, None, None, :]
        mixed = self._mix(query, key, value, mask)
        return self.output(mixed.transpose(1, 2).reshape(batch, length, dim))

    def at(self, asking: Tensor, read: Tensor, valid: Tensor, causal: bool, places: Tensor) -> Tensor:
        """What some positions alone attend to: `asking: (batch, m, dim)`, `places: (batch, m)` -> `(batch, m, dim)`."""
        (query,), (key, value) = self._by_heads(self.query(asking)), self._by_heads(self.key_value(read))
        mixed = self._mix(query, key, value, seen_from(places, valid, causal)[:, None])
        return self.output(mixed.transpose(1, 2).reshape(asking.shape))

    def _by_heads(self, projected: Tensor) -> Tensor:
        """`(batch, length, n * dim)` -> `(n, batch, heads, length, dim / heads)`."""
        batch, length, width = projected.shape
        dim = self.query.out_features
        return projected.view(batch, length, width // dim, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)

    def _mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Attention by heads; causal if there is no mask of the keys."""
        rate = self.dropout if self.training else 0.0
        if not rate or query.device.type != "cpu":
            return F.scaled_dot_product_attention(query, key, value, mask, dropout_p=rate, is_causal=mask is None)
        if mask is None:
            mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
        hidden = torch.zeros(mask.shape, dtype=query.dtype).masked_fill(~mask, -torch.inf)
        shape = (*query.shape[:3], key.shape[2])
        logits = torch.baddbmm(  # scaled and masked in the same pass
            hidden.expand(shape).flatten(0, 1),
            query.flatten(0, 1),
            key.flatten(0, 1).transpose(1, 2),
            alpha=query.shape[3] ** -0.5,
        )
        return dropout(logits.softmax(-1), rate, True).view(shape) @ value


def seen_from(places: Tensor, valid: Tensor, causal: bool) -> Tensor:
    """Which real positions each place sees: `(batch, m)`, `(batch, length)` -> `(batch, m or 1, length)`.

    Of packed rows, where `valid: (batch, length, length)` says it, the rows of the places.
    """
    if valid.dim() == 3:
        return valid.gather(1, places[..., None].expand(-1, -1, valid.shape[2]))
    if not causal:
        return valid[:, None]
    return valid[:, None] & (torch.arange(valid.shape[1], device=valid.device) <= places[..., None])
