"""The two transformer blocks that papers both call SASRec."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from recloom.nn.attention import SelfAttention

EPS = 1e-12


class BertBlock(nn.Module):
    """Post-norm, GELU, a feed-forward of width `inner`: the block of S3-Rec and its family.

    Args:
        dim, heads, dropout, attention_dropout: as named; `dropout` acts on both sub-layers' outputs.
        inner: width of the feed-forward, `4 * dim` in the papers.
    """

    def __init__(self, dim: int, heads: int, dropout: float, attention_dropout: float, inner: int) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads, attention_dropout)
        self.norm_attention = nn.LayerNorm(dim, EPS)
        self.widen, self.narrow = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.norm_forward = nn.LayerNorm(dim, EPS)
        self.dropout = dropout

    def forward(self, states: Tensor, valid: Tensor, causal: bool) -> Tensor:
        mixed = F.dropout(self.attention(states, states, valid, causal), self.dropout, self.training)
        states = self.norm_attention(states + mixed)
        wide = F.dropout(self.narrow(F.gelu(self.widen(states))), self.dropout, self.training)
        return self.norm_forward(states + wide)


class OriginalBlock(nn.Module):
    """The block of the SASRec paper: only the query is normalised, ReLU, a feed-forward of width `dim`.

    `s' = norm(s) + attention(norm(s), s, s)`, then `s'' = norm(s') + feed_forward(norm(s'))`: as in the authors'
    code, the residual starts from the normalised input.

    Args: as for `BertBlock`; `inner` is `dim` in the paper.
    """

    def __init__(self, dim: int, heads: int, dropout: float, attention_dropout: float, inner: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim, 1e-8)
        self.attention = SelfAttention(dim, heads, attention_dropout)
        self.norm_forward = nn.LayerNorm(dim, 1e-8)
        self.widen, self.narrow = nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.dropout = dropout

    def forward(self, states: Tensor, valid: Tensor, causal: bool) -> Tensor:
        asking = self.norm_attention(states)
        states = self.norm_forward(asking + self.attention(asking, states, valid, causal))
        wide = F.dropout(F.relu(self.widen(states)), self.dropout, self.training)
        return states + F.dropout(self.narrow(wide), self.dropout, self.training)
