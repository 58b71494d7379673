"""Ranking losses whose gradient comes from the wrong answers that score highest.

All take the scores of the right answers, `good: (n,)`, and of the wrong ones, `bad: (n, k)`, and `log_counts: (k,)`,
the log of how many times each wrong answer stands there: a wrong answer that was drawn twice counts twice. A score of
`LEFT_OUT` takes one out of its row; each row keeps at least one. All are means over rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LOSSES = ("bpr-max", "top1-max", "bpr", "top1", "softmax")

LEFT_OUT = -1e4
"""So low that its share is exactly 0, and finite, so that no product with it is undefined."""


def bpr_max(good: Tensor, bad: Tensor, log_counts: Tensor, regularisation: float = 1.0) -> Tensor:
    """`-log sum_j s_j sigma(good - bad_j) + regularisation * sum_j s_j bad_j^2`, s the softmax over the wrong answers.

    Source: Hidasi and Karatzoglou, Recurrent Neural Networks with Top-k Gains for Session-based Recommendations, CIKM
    2018, equations 10 and 11. The sum is formed by its logarithm, so it needs no epsilon.
    """
    log_shares = (bad + log_counts).log_softmax(1)
    likely = torch.logsumexp(log_shares + F.logsigmoid(good[:, None] - bad), 1)
    if not regularisation:
        return -likely.mean()
    return (regularisation * (log_shares.exp() * bad.square()).sum(1) - likely).mean()


def top1_max(good: Tensor, bad: Tensor, log_counts: Tensor) -> Tensor:
    """`sum_j s_j (sigma(bad_j - good) + sigma(bad_j^2))`, equation 8 of the same paper."""
    shares = (bad + log_counts).softmax(1)
    return (shares * ((bad - good[:, None]).sigmoid() + bad.square().sigmoid())).sum(1).mean()


def top1(good: Tensor, bad: Tensor, log_counts: Tensor) -> Tensor:
    """`mean_j (sigma(bad_j - good) + sigma(bad_j^2))` (Hidasi et al., ICLR 2016)."""
    return (_equal_shares(bad, log_counts) * ((bad - good[:, None]).sigmoid() + bad.square().sigmoid())).sum(1).mean()


def bpr(good: Tensor, bad: Tensor, log_counts: Tensor) -> Tensor:
    """`-mean_j log sigma(good - bad_j)`."""
    return (_equal_shares(bad, log_counts) * F.softplus(bad - good[:, None])).sum(1).mean()


def softmax(good: Tensor, bad: Tensor, log_counts: Tensor) -> Tensor:
    """Cross-entropy of the right answer among all that are given."""
    return (torch.logsumexp(torch.cat([good[:, None], bad + log_counts], 1), 1) - good).mean()


def _equal_shares(bad: Tensor, log_counts: Tensor) -> Tensor:
    counts = log_counts.exp() * (bad > LEFT_OUT)
    return counts / counts.sum(1, keepdim=True)
