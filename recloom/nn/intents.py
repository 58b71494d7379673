"""The states of a row as several vectors, one for each latent intent."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-12


class IntentDisentangling(nn.Module):
    """K vectors of a row: its states, clustered by prototypes, weighted by importance, and summed.

    Args:
        dim: width of the states.
        intents: K.
        length: the longest row.

    A row may be read as an input (what was) or as a label (what came); only the biases of the sums differ.

    Source: Ma et al., DSSRec, KDD 2020, equations 8 to 13. Positions count from the end of a row, whose last item
    has the last one; padding has no share in any sum.
    """

    def __init__(self, dim: int, intents: int, length: int) -> None:
        super().__init__()
        self.dim, self.length = dim, length
        self.prototypes = nn.Parameter(torch.randn(intents, dim) * dim**-0.5)
        self.biases = nn.Parameter(torch.randn(2, intents, dim) * dim**-0.5)
        self.position = nn.Parameter(torch.randn(length, dim) * 0.02)
        self.query_bias = nn.Parameter(torch.zeros(dim))
        self.widen = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)
        self.norm_states, self.norm_prototypes, self.norm_keys, self.norm_query, self.norm_intents = (
            nn.LayerNorm(dim, EPS) for _ in range(5)
        )

    def forward(self, states: Tensor, valid: Tensor, *, label: bool = False) -> Tensor:
        """`states: (batch, length, dim)`, `valid: (batch, length)` -> `(batch, intents, dim)`."""
        belongs = self.clusters(states[valid])
        shares = belongs.new_zeros(*valid.shape, belongs.shape[1]).masked_scatter(valid[..., None], belongs)
        sums = torch.einsum("blk,bld->bkd", shares * self.importance(states, valid)[..., None], states)
        return self.norm_intents(self.biases[int(label)] + sums)

    def clusters(self, states: Tensor) -> Tensor:
        """How much each state belongs to each intent (equation 8): `(..., dim)` -> `(..., intents)`, rows sum to 1."""
        similarity = self.norm_states(states) @ self.norm_prototypes(self.prototypes).t()
        return (similarity * self.dim**-0.5).softmax(-1)

    def importance(self, states: Tensor, valid: Tensor) -> Tensor:
        """How much each state says of what comes next (equations 9 to 12): `(batch, length)`, 0 on padding."""
        lengths = valid.sum(1)
        at = self.length - lengths[:, None] + torch.arange(valid.shape[1], device=valid.device)
        placed = states[valid] + F.embedding(at[valid], self.position)
        keys = self.norm_keys(placed)
        keys = keys + F.relu(self.widen(keys))
        query = self.norm_query(placed[lengths.cumsum(0) - 1] + self.query_bias)
        scores = (keys * query.repeat_interleave(lengths, 0)).sum(-1) * self.dim**-0.5
        spread = torch.full_like(valid, -torch.inf, dtype=scores.dtype).masked_scatter(valid, scores)
        return spread.softmax(1)
