"""A view of each row by one operator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recloom.data.catalog import PAD
from recloom.views.two_different import Operator


def one_of(
    items: Tensor, operators: Sequence[Operator], generator: torch.Generator, allowed: Tensor | None = None
) -> Tensor:
    """Each row seen through one operator, uniformly drawn from those allowed.

    Args:
        items: `(batch, length)`.
        operators: may give rows of another width.
        allowed: `(batch, operators)` bool, at least one a row; all if None.

    Returns:
        `(batch, width)`, right-padded.
    """
    seen = [operator(items, generator) for operator in operators]
    width = max(view.shape[1] for view in seen)
    views = torch.stack([torch.nn.functional.pad(view, (0, width - view.shape[1]), value=PAD) for view in seen])
    keys = torch.rand(len(items), len(operators), generator=generator, device=items.device)
    if allowed is not None:
        keys = keys.masked_fill(~allowed, -1)
    found = views[keys.argmax(1), torch.arange(len(items), device=items.device)]
    return found[:, : max(1, int((found != PAD).sum(1).max()))]
