"""Exponential moving averages along a row, beside attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recloom.errors import InputError
from recloom.nn.attention import SelfAttention, seen_from


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
        away = at[:, None] - at
        weights = self._weights(away.abs()).masked_fill(causal & (away < 0), 0)
        sums = weights @ (states * valid[..., None]).permute(2, 1, 0)
        counted = weights.sum(2, keepdim=True) if causal else weights @ valid.t().to(weights.dtype)
        return (sums / counted.clamp(min=1e-30)).permute(2, 1, 0)  # padding far from any item has no mean

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
