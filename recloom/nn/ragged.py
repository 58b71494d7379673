"""Rows of different lengths, kept flat."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Ragged(nn.Module):
    """Lists of integers that travel with a model and are not saved with it.

    Args:
        offsets: `(rows + 1,)`; row i is `values[offsets[i]:offsets[i + 1]]`.
        values: flat.
    """

    offsets: Tensor
    values: Tensor

    def __init__(self, offsets: NDArray[np.int64], values: NDArray[np.int32]) -> None:
        super().__init__()
        self.register_buffer("offsets", torch.from_numpy(offsets.astype(np.int64)), persistent=False)
        self.register_buffer("values", torch.from_numpy(values.astype(np.int64)), persistent=False)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The lists of `rows: (n,)`, laid end to end, and their `(n + 1,)` offsets."""
        starts, counts = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        at = torch.arange(int(offsets[-1]), device=rows.device)
        at += torch.repeat_interleave(starts - offsets[:-1], counts)
        return self.values[at], offsets
