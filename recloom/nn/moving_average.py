"""Exponential moving averages along a row, beside attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.errors import InputError
from recloom.nn.attention import SelfAttention, seen_from

BLOCK = 32
"""Positions that one product reads while training; longer rows are read in blocks."""


class MovingAverage(nn.Module):
    """A weighted mean of each channel over a row, `sum_s a^|t - s| x_s / sum_s a^|t - s|`, with a learned decay a.

    A decay near 0 keeps the position itself, one near 1 is the mean of the whole history: a low-pass filter that does
    not see the future, unlike a Fourier transform of the row.

    Args:
        dim: channels. Their time constants, `-1 / log a`, start evenly in the logarithm between 1/2 and `length`.
        length: the longest row.
    """

    def __init__(self, dim: int, length: int) -> None:
        super().__init__()
        constants = torch.exp(torch.linspace(math.log(0.5), math.log(max(length, 1)), dim))
        self.log_constants = nn.Parameter(constants.log())

    def forward(self, states: Tensor, valid: Tensor, causal: bool) -> Tensor:
        """`(batch, length, dim)`, `(batch, length)` right-padded -> `(batch, length, dim)`."""
        at = torch.arange(states.shape[1], device=states.device)
        if causal and self.training:
            return self._sums_so_far(states) / self._weights(at).cumsum(1).t()
        away = at[:, None] - at
        weights = self._decays(away) if causal else self._weights(away.abs())
        sums = weights @ (states * valid[..., None]).permute(2, 1, 0).contiguous()
        counted = weights.sum(2, keepdim=True) if causal else weights @ valid.t().to(weights.dtype)
        return (sums / counted.clamp(min=1e-30)).permute(2, 1, 0)  # padding far from any item has no mean

    def _sums_so_far(self, states: Tensor) -> Tensor:
        """`sum_{s <= t} a^(t - s) x_s`, `(batch, length, dim)`: within a block, and of what those before it leave."""
        batch, length, dim = states.shape
        blocks = -(-length // BLOCK)
        size = -(-length // blocks)
        at, block = torch.arange(size, device=states.device), torch.arange(blocks, device=states.device)
        rows = F.pad(states, (0, 0, 0, blocks * size - length)).view(batch, blocks, size, dim).permute(3, 2, 0, 1)
        # Of what does not lie in one piece, forward or backward, a batched product copies each channel by itself.
        sums = self._decays(at[:, None] - at) @ rows.reshape(dim, size, batch * blocks).contiguous()
        if sums.requires_grad:
            sums.register_hook(Tensor.contiguous)
        sums = sums.view(dim, size, batch, blocks)
        if blocks > 1:
            before = sums[:, -1] @ self._decays(block[:, None] - 1 - block, size).transpose(1, 2)
            sums = sums + self._weights(at + 1)[:, :, None, None] * before[:, None]
        return sums.permute(2, 3, 1, 0).reshape(batch, blocks * size, dim)[:, :length]

    def _decays(self, away: Tensor, step: int = 1) -> Tensor:
        """`a^(step away)` of every channel, `(dim, ...)`; 0 where `away` is negative."""
        return self._weights(step * away.clamp(min=0)).masked_fill(away < 0, 0)

    def at(self, states: Tensor, valid: Tensor, causal: bool, places: Tensor) -> Tensor:
        """At some positions of each row alone: `places: (batch, m)` -> `(batch, m, dim)`."""
        away = places[..., None] - torch.arange(states.shape[1], device=states.device)
        weights = self._weights(away.abs()).masked_fill(~seen_from(places, valid, causal), 0)
        return torch.einsum("dbml,bld->bmd", weights, states) / weights.sum(3).clamp(min=1e-30).permute(1, 2, 0)

    def _weights(self, away: Tensor) -> Tensor:
        """`a^away` of every channel, `(dim, ...)`."""
        rates = (-self.log_constants).exp()
        return torch.exp(-rates.view(-1, *[1] * away.dim()) * away)


class AttentionAndAverage(nn.Module):
    """`(1 - share) * attention + share * moving average`, in the place of attention.

    Source of the mixture: Shin et al., BSARec, AAAI 2024, with a causal filter instead of a Fourier one.
    """

    def __init__(self, attention: SelfAttention, average: MovingAverage, share: float) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise InputError(f"average_share={share} must be at least 0 and below 1")
        self.attention, self.average, self.share = attention, average, share

    def forward(self, asking: Tensor, read: Tensor, valid: Tensor, causal: bool) -> Tensor:
        return self._mixed(self.attention(asking, read, valid, causal), self.average(read, valid, causal))

    def at(self, asking: Tensor, read: Tensor, valid: Tensor, causal: bool, places: Tensor) -> Tensor:
        attended = self.attention.at(asking, read, valid, causal, places)
        return self._mixed(attended, self.average.at(read, valid, causal, places))

    def _mixed(self, attended: Tensor, averaged: Tensor) -> Tensor:
        return torch.lerp(attended.to(averaged.dtype), averaged, self.share)  # autocast gives them two types
