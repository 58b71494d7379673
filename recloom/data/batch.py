"""A batch of sequences: the one shape that views, encoders and methods read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recloom.data.catalog import PAD


@dataclass(frozen=True)
class SequenceBatch:
    """Right-padded rows of items, trimmed to the longest row.

    Args:
        users: `(batch,)` int64, the user of each row; -1 where the user is not one of the data.
        items: `(batch, length)` int64 item indices 1..n, `PAD` after the end of a row. No row is empty.
        targets: `(batch, length)` int64, what should follow each position; `PAD` where nothing is
            asked. None outside training.
    """

    users: Tensor
    items: Tensor
    targets: Tensor | None = None

    @property
    def valid(self) -> Tensor:
        """`(batch, length)` bool, True on real items."""
        return self.items != PAD

    @property
    def lengths(self) -> Tensor:
        """`(batch,)` int64, number of real items in each row."""
        return self.valid.sum(1)

    def last(self, states: Tensor) -> Tensor:
        """The state at the last real item of each row: `(batch, length, dim) -> (batch, dim)`."""
        return states[torch.arange(len(states), device=states.device), self.lengths - 1]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SequenceBatch:
        """The same batch on another device."""
        move = {"device": device, "non_blocking": non_blocking}
        targets = None if self.targets is None else self.targets.to(**move)
        return SequenceBatch(self.users.to(**move), self.items.to(**move), targets)

    def __len__(self) -> int:
        return len(self.items)
