"""Repeat-recent: what the user took last is what the user takes next."""

from __future__ import annotations

import torch
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.methods.about import About
from recloom.training import Method, Stage

ABOUT = About("the latest items again", 0)


class RepeatRecent(Method):
    """The items of the history, latest first; every other item ties behind them.

    Args:
        length: how many of the latest items are read.

    Paper: none. Shows what copying alone earns where history stays among the candidates; where a user's
        own items are removed, or never come back, it finds nothing.
    """

    ranks_by = "scores"

    def __init__(self, length: int) -> None:
        super().__init__(length=length)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        raise RuntimeError("repeat-recent learns nothing; it has no training step")

    def score(self, batch: SequenceBatch, items: Tensor) -> Tensor:
        place = torch.arange(1, batch.items.shape[1] + 1, device=batch.items.device) * batch.valid
        top = int(max(int(batch.items.max()), int(items.max()))) + 1
        latest = torch.zeros(len(batch), top, device=batch.items.device)
        latest.scatter_reduce_(1, batch.items, place.float(), "amax")
        latest[:, 0] = 0
        return latest[:, items] if items.dim() == 1 else latest.gather(1, items)


def build(catalog: Catalog, *, length: int = 500) -> list[Stage]:
    """`RepeatRecent` from its number."""
    return [Stage(RepeatRecent(length), epochs=0)]
