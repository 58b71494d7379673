"""A batch of sequences: the one shape that views, encoders and methods read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recloom.data.catalog import PAD

MOST_ITEMS = 1 << 12
"""So much of a history is read where all of it counts, which bounds the memory of a batch."""


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

    @property
    def last_targets(self) -> Tensor:
        """`(batch,)`, what should follow each row."""
        assert self.targets is not None
        return self.targets[torch.arange(len(self), device=self.items.device), self.lengths - 1]

    def ahead(self, steps: int) -> SequenceBatch:
        """The same rows with each position's target that many steps later; `PAD` behind the end of a row."""
        assert self.targets is not None
        targets = torch.nn.functional.pad(self.targets[:, steps:], (0, min(steps, self.targets.shape[1])))
        return SequenceBatch(self.users, self.items, targets)

    def whole(self) -> Tensor:
        """Each row and the item after its end, `(batch, length + 1)`: the window as it lies in the history.

        What self-supervision reads; it asks for no next item, so it may see the last one.
        """
        items = torch.nn.functional.pad(self.items, (0, 1))
        rows = torch.arange(len(items), device=items.device)
        items[rows, self.lengths] = self.last_targets
        return items

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SequenceBatch:
        """The same batch on another device."""
        targets = None if self.targets is None else self.targets.to(device, non_blocking=non_blocking)
        users, items = (x.to(device, non_blocking=non_blocking) for x in (self.users, self.items))
        return SequenceBatch(users, items, targets)

    def __len__(self) -> int:
        return len(self.items)


def gather(items: NDArray[np.int32], start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """Slices `items[start:stop]` as right-padded rows, `(rows, longest)` int64."""
    at = start[:, None] + np.arange(int((stop - start).max(initial=0)))
    return np.where(at < stop[:, None], items[np.minimum(at, len(items) - 1)], 0).astype(np.int64)


def latest(items: NDArray[np.int32], start: NDArray[np.int64], stop: NDArray[np.int64]) -> Tensor:
    """The last `MOST_ITEMS` of the slices `items[start:stop]` as right-padded rows, `(rows, longest)` int64."""
    return torch.from_numpy(gather(items, np.maximum(start, stop - MOST_ITEMS), stop))


def history_batch(histories: Sequence[NDArray[np.int64]], length: int) -> SequenceBatch:
    """Histories of item indices (oldest first, none empty) as a batch of their latest `length` items."""
    rows = [np.asarray(history, dtype=np.int64)[-length:] for history in histories]
    items = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, history in enumerate(rows):
        items[row, : len(history)] = history
    return SequenceBatch(torch.full((len(rows),), -1), torch.from_numpy(items))
