"""Positive and negative similarities should not drift apart for nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recloom.objectives.precision import at_least_fp32


def margin_regulariser(one: Tensor, two: Tensor, *, extrema: str = "row") -> Tensor:
    """Pulls positive similarities down to the hardest negative, and negatives up to it.

    `mean [p - o_min]_+ + mean [o_max - n]_+` over the 2B views' positives p and negatives n, where `o_min` is the
    smaller and `o_max` the larger of the (smallest) positive and the largest negative.

    Args:
        one, two: `(batch, dim)`, partners row by row; products are taken as they are.
        extrema: "row", of each view by itself (the authors' code), or "global", over the batch (the paper).

    Gradients flow through the extrema. With one row there are no negatives, and the value is 0.

    Source: Qin et al., MCLRec, SIGIR 2023, equations 11 to 13.
    """
    n = len(one)
    if n == 1:
        return (one.sum() + two.sum()) * 0.0
    views = at_least_fp32(torch.cat([one, two]))
    with torch.autocast(views.device.type, enabled=False):
        scores = views @ views.t()
    each = torch.arange(2 * n, device=views.device)
    own = each.repeat(2), torch.cat([each, each.roll(n)])  # each view itself, and its partner
    positive = scores.diagonal(n).repeat(2)[:, None]
    negative = scores.index_put(own, scores.new_full((), -torch.inf))
    right = positive.amin() if extrema == "global" else positive
    wrong = negative.amax() if extrema == "global" else negative.amax(1, keepdim=True)
    least, most = torch.minimum(right, wrong), torch.maximum(right, wrong)
    down = F.relu((most - scores).index_put(own, scores.new_zeros(()))).sum() / (2 * n * (2 * n - 2))
    return F.relu(positive - least).mean() + down
