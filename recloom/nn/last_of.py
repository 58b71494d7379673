"""The end of each row."""

from __future__ import annotations

import torch
from torch import Tensor


def last_of(values: Tensor, valid: Tensor) -> Tensor:
    """What each right-padded row holds at its last real position: `(batch, length, ...)` -> `(batch, ...)`."""
    return values[torch.arange(values.shape[0], device=values.device), valid.sum(1) - 1]
