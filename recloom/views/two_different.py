"""Two views of each row by two different operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Operator = Callable[[Tensor, torch.Generator], Tensor]
"""Rows `(batch, length)` and a generator to rows of the same shape."""


def two_different(items: Tensor, operators: Sequence[Operator], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each row seen through two operators, drawn without replacement, alike for all pairs.

    No row sees an operator twice, so each operator is applied once to the whole batch.

    Args:
        items: `(batch, length)`.
        operators: at least two.
    """
    seen = torch.stack([operator(items, generator) for operator in operators])
    keys = torch.rand(len(items), len(operators), generator=generator, device=items.device)
    first, second = keys.topk(2, dim=1).indices.unbind(1)
    rows = torch.arange(len(items), device=items.device)
    return seen[first, rows], seen[second, rows]
