"""Positive and negative similarities should not drift apart for nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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
    views = torch.cat([one, two])
    scores = views @ views.t()
    index = torch.arange(2 * n, device=views.device)
    positive = scores[index, index.roll(n)][:, None]
    others = torch.ones_like(scores, dtype=torch.bool)
    others[index, index] = others[index, index.roll(n)] = False
    negative = scores[others].view(2 * n, 2 * n - 2)
    right = positive.amin() if extrema == "global" else positive
    wrong = negative.amax() if extrema == "global" else negative.amax(1, keepdim=True)
    least, most = torch.minimum(right, wrong), torch.maximum(right, wrong)
    return F.relu(positive - least).mean() + F.relu(most - negative).mean()
