"""Two views of the same thing should find each other among all others of the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recloom.errors import InputError

SIMILARITIES = ("dot", "cosine")


def check_info_nce(temperature: float, similarity: str = "dot") -> None:
    """Refuse what `info_nce` cannot use, for methods to call when they are built."""
    if not temperature > 0:
        raise InputError(f"temperature={temperature} must be above 0")
    if similarity not in SIMILARITIES:
        raise InputError(f"similarity={similarity!r} is not known; choose one of {', '.join(SIMILARITIES)}")


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
        temperature: divides every similarity; above 0.
        similarity: "dot" or "cosine".
        same: `(batch, batch)` bool, pairs of rows that are no negatives of each other, such as those with the same
            target; a row's own partner always stays.

    With one row there is nothing to tell apart, and the loss is 0.
    """
    check_info_nce(temperature, similarity)
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
