"""Cut a run of neighbouring items out of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from recloom.data.catalog import PAD


def cut_segment(
    items: Tensor, mask_id: int, fillers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A row without one of its segments, the segment alone, and a foreign segment in its place.

    The segment of a row of m >= 2 items has a length uniform in 1..m // 2 and a start uniform among those that
    fit. A row of one item has nothing to cut: all three views are the row itself.

    Args:
        items: `(batch, length)` int64, right-padded.
        mask_id: what stands where a view shows nothing.
        fillers: `(n,)` int64, sequences laid end to end; a foreign segment is a run of it at a uniform offset.

    Returns:
        context: `(batch, length)`, the row with the segment hidden.
        segment: the segment at its own place, the rest of the row hidden.
        foreign: as `segment`, with another run of items of the same length.

    Source: Zhou et al., S3-Rec, CIKM 2020, section 4.2.4, with the lengths of the authors' code.
    """
    valid = items != PAD
    lengths = valid.sum(1)
    sizes = 1 + _below(lengths // 2, generator)
    starts = _below(lengths - sizes + 1, generator)
    at = torch.arange(items.shape[1], device=items.device)
    inside = (at >= starts[:, None]) & (at < (starts + sizes)[:, None])
    alone = lengths == 1
    offsets = _below(len(fillers) - sizes + 1, generator)
    run = fillers[(offsets[:, None] + at - starts[:, None]).clamp_(0, len(fillers) - 1)]
    context = items.masked_fill(inside, mask_id)
    outside = valid & ~inside
    segment, foreign = items.masked_fill(outside, mask_id), torch.where(inside, run, items.masked_fill(valid, mask_id))
    return tuple(torch.where(alone[:, None], items, view) for view in (context, segment, foreign))  # type: ignore[return-value]


def _below(highs: Tensor, generator: torch.Generator) -> Tensor:
    """One integer for each element, uniform in 0..high - 1; 0 where high is below 1."""
    drawn = torch.rand(highs.shape, generator=generator, device=highs.device, dtype=torch.float64)
    return (drawn * highs).long().clamp_(min=0)
