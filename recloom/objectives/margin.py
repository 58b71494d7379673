"""Positive and negative similarities should not drift apart for nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recloom.objectives.known_slope import known_slope
from recloom.objectives.precision import at_least_fp32


def margin_regulariser(one: Tensor, two: Tensor, *, extrema: str = "row") -> Tensor:
    """Pulls positive similarities down to the hardest negative, and negatives up to it.

    `mean [p - o_min]_+ + mean [o_max - n]_+` over the 2B views' positives p and negatives n, where `o_min` is the
    smaller and `o_max` the larger of the (smallest) positive and the largest negative.

    Args:
        one, two: `(batch, dim)`, partners row by row; products are taken as they are.
        extrema: "row", of each view by itself (the authors' code), or "global", over the batch (the paper).

    Gradients flow through the extrema; second derivatives are not offered. With one row there are no negatives, and the
    value is 0.

    Source: Qin et al., MCLRec, SIGIR 2023, equations 11 to 13.
    """
    n = len(one)
    if n == 1:
        return (one.sum() + two.sum()) * 0.0
    views = at_least_fp32(torch.cat([one, two]))
    with torch.autocast(views.device.type, enabled=False):
        scores = views @ views.t()
    return known_slope(scores, *_loss_and_slope(scores.detach(), extrema == "global"))


def _loss_and_slope(scores: Tensor, over_batch: bool) -> tuple[Tensor, Tensor]:
    """The regulariser of all products, `(2n, 2n)`, and its derivative by each."""
    each = torch.arange(len(scores), device=scores.device)
    partner = each.roll(len(each) // 2)
    own = each.repeat(2), torch.cat([each, partner])  # each view itself, and its partner
    positive, negative = scores[each, partner], scores.clone()
    negative[own] = -torch.inf
    wrong, hardest = negative.max(1)
    lowest, highest = (positive.argmin(), wrong.argmax()) if over_batch else (each, each)  # rows of the extrema
    right, wrong = positive[lowest], wrong[highest]
    up, most = F.relu(positive - torch.minimum(right, wrong)), torch.maximum(right, wrong)
    negative[own] = torch.inf  # above any bound, so that they count for nothing below
    down = negative.neg_().add_(most.expand_as(each)[:, None]).clamp_(min=0)
    pairs = down.numel() - 2 * len(each)
    loss = up.mean() + down.sum() / pairs
    pulled, pushed = up.sign() / len(each), down.sign_()
    towards_least, towards_most = -pulled, pushed.sum(1) / pairs
    slope, least_is_right = pushed.mul_(-1 / pairs), right < wrong
    of_right = torch.where(least_is_right, towards_least, towards_most)
    of_wrong = torch.where(least_is_right, towards_most, towards_least)
    for row, column, part in (
        (each, partner, pulled),
        (lowest, partner[lowest], of_right),
        (highest, hardest[highest], of_wrong),
    ):
        slope.index_put_((row.expand_as(each), column.expand_as(each)), part, accumulate=True)
    return loss, slope
