"""A right answer should score above a wrong one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def nested_sigmoid(good: Tensor, bad: Tensor) -> Tensor:
    """`-log sigma(sigma(good) - sigma(bad))`, element by element.

    Equal scores give ln 2; every value lies in [ln(1 + 1/e), ln(1 + e)] = [0.3133, 1.3133], and the gradient
    fades where a score is far from 0.

    Source: the authors' code of S3-Rec (Zhou et al., CIKM 2020), for masked items and segments.
    """
    return F.softplus(bad.sigmoid() - good.sigmoid())


def pairwise(good: Tensor, bad: Tensor) -> Tensor:
    """`-log sigma(good - bad)`, element by element (Rendle et al., BPR, UAI 2009)."""
    return F.softplus(bad - good)


def sigmoid_info_nce(good: Tensor, bad: Tensor) -> Tensor:
    """`log(sum_j exp sigma(bad_j)) - sigma(good)`: `good` is `(n,)`, `bad` `(n, k)`; -inf leaves a negative out.

    Source: Zhou et al., S3-Rec, CIKM 2020, equations 13 and 17 as printed, with the sign that makes them losses.
    """
    kept = bad != -float("inf")
    return bad.sigmoid().masked_fill(~kept, -float("inf")).logsumexp(1) - good.sigmoid()
