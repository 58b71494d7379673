"""Popularity: the most frequent items, the same for everybody."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.errors import InputError
from recloom.methods.about import About
from recloom.training import Method, Stage

ABOUT = About("popularity", 0)


class Pop(Method):
    """Items in the order of their counts; equal counts in the order of the catalogue.

    Args:
        counts: `(n_items + 2,)` actions per item.

    Paper: none; the PopRec row of every table.
    Departures: `count="all"` also counts the held-out actions. It leaks the answers, and it is how the rows
        published with the S3-Rec files were made: use it to check an evaluation, never as a baseline.
    """

    def __init__(self, counts: Tensor) -> None:
        super().__init__()
        order = np.argsort(-counts.numpy(), kind="stable")
        place = np.empty(len(order), dtype=np.float32)
        place[order] = np.arange(len(order))
        self.register_buffer("scores", torch.from_numpy(-place)[:, None])

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        raise RuntimeError("popularity is counted when it is built; it has no training step")

    def queries(self, batch: SequenceBatch) -> Tensor:
        return batch.items.new_ones(batch.items.shape[0], 1, 1, dtype=torch.float32)

    def catalogue(self) -> Tensor:
        return self.scores  # type: ignore[return-value]


def build(catalog: Catalog, *, count: str = "train") -> list[Stage]:
    """Popularity.

    Args:
        count: the actions that count: "train", or "all", held-out ones too.
    """
    if count not in ("train", "all"):
        raise InputError(f"count={count!r} is not known; choose 'train' or 'all'")
    counts = catalog.train_counts if count == "train" else catalog.all_counts
    return [Stage(Pop(torch.from_numpy(counts)), epochs=0)]
