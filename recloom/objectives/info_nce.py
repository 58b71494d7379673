"""Two views of the same thing should find each other among all others of the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(
    one: Tensor,
    two: Tensor,
    *,
    temperature: float = 1.0,
    similarity: str = "dot",
    same: Tensor | None = None,
) -> Tensor:
    """Mean over the 2B views of `-log exp(s(v, v')) / sum over all other views exp(s(v, w))`, v' the partner of v.

    Args:
        one, two: `(batch, dim)`, partners row by row.
        temperature: divides every similarity.
        similarity: "dot" or "cosine".
        same: `(batch, batch)` bool, pairs of rows that are no negatives of each other, such as those with the same
            target; a row's own partner always stays.

    With one row there is nothing to tell apart, and the loss is 0.
    """
    views = torch.cat([one, two])
    if similarity == "cosine":
        views = F.normalize(views, dim=1)
    n = len(one)
    logits = views @ views.t() / temperature
    out = torch.eye(2 * n, dtype=torch.bool, device=views.device)
    partner = torch.arange(2 * n, device=views.device).roll(n)
    if same is not None:
        out = out | same.repeat(2, 2)
        out[torch.arange(2 * n, device=views.device), partner] = False
    return F.cross_entropy(logits.masked_fill(out, -torch.inf), partner)
