"""The two transformer blocks that papers both call SASRec."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from recloom.nn.attention import SelfAttention
from recloom.nn.dropout import dropout

EPS = 1e-12


class BertBlock(nn.Module):
    """Post-norm, GELU, a feed-forward of width `inner`: the block of S3-Rec and its family.

    Args:
        dim, heads, dropout, attention_dropout: as named; `dropout` acts on both sub-layers' outputs.
        inner: width of the feed-forward, `4 * dim` in the papers.
        activation: "gelu" as in the authors' code, or "relu" as S3-Rec's paper writes.
        inner_dropout: rate behind the activation, as in PyTorch's own layer.
        eps: added to the variance in the norms; PyTorch's own layer has 1e-5.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        dropout: float,
        attention_dropout: float,
        inner: int,
        activation: str = "gelu",
        inner_dropout: float = 0.0,
        eps: float = EPS,
    ) -> None:
        super().__init__()
        self.inner_dropout = inner_dropout
        self.activation = F.gelu if activation == "gelu" else F.relu
        self.attention = SelfAttention(dim, heads, attention_dropout)
        self.norm_attention = nn.LayerNorm(dim, eps)
        self.widen, self.narrow = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.norm_forward = nn.LayerNorm(dim, eps)
        self.dropout = dropout

    def forward(self, states: Tensor, valid: Tensor, causal: bool) -> Tensor:
        return self._forward(states, self.attention(states, states, valid, causal))

    def at(self, states: Tensor, valid: Tensor, causal: bool, places: Tensor) -> Tensor:
        """As `forward`, for some positions of each row alone: `places: (batch, m)` -> `(batch, m, dim)`."""
        asking = states.gather(1, places[..., None].expand(-1, -1, states.shape[2]))
        return self._forward(asking, self.attention.at(asking, states, valid, causal, places))

    def _forward(self, states: Tensor, mixed: Tensor) -> Tensor:
        states = self.norm_attention(states + dropout(mixed, self.dropout, self.training))
        wide = dropout(self.activation(self.widen(states)), self.inner_dropout, self.training)
        return self.norm_forward(states + dropout(self.narrow(wide), self.dropout, self.training))


class OriginalBlock(nn.Module):
    """The block of the SASRec paper: only the query is normalised, ReLU, a feed-forward of width `dim`.

    `s' = norm(s) + attention(norm(s), s, s)`, then `s'' = norm(s') + feed_forward(norm(s'))`: as in the authors'
    code, the residual starts from the normalised input.

    Args: as for `BertBlock`; `inner` is `dim` in the paper.
    """

    def __init__(
        self, dim: int, heads: int, dropout: float, attention_dropout: float, inner: int, activation: str = "relu"
    ) -> None:
        super().__init__()
        self.activation = F.relu if activation == "relu" else F.gelu
        self.norm_attention = nn.LayerNorm(dim, 1e-8)
        self.attention = SelfAttention(dim, heads, attention_dropout)
        self.norm_forward = nn.LayerNorm(dim, 1e-8)
        self.widen, self.narrow = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.dropout = dropout

    def forward(self, states: Tensor, valid: Tensor, causal: bool) -> Tensor:
        asking = self.norm_attention(states)
        return self._forward(asking, self.attention(asking, states, valid, causal))

    def at(self, states: Tensor, valid: Tensor, causal: bool, places: Tensor) -> Tensor:
        """As `forward`, for some positions of each row alone: `places: (batch, m)` -> `(batch, m, dim)`."""
        asking = self.norm_attention(states.gather(1, places[..., None].expand(-1, -1, states.shape[2])))
        return self._forward(asking, self.attention.at(asking, states, valid, causal, places))

    def _forward(self, asking: Tensor, mixed: Tensor) -> Tensor:
        states = self.norm_forward(asking + mixed)
        wide = dropout(self.activation(self.widen(states)), self.dropout, self.training)
        return states + dropout(self.narrow(wide), self.dropout, self.training)
