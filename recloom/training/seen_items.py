"""Fit the terms of items that a history holds already to the validation targets."""

from __future__ import annotations

import lightning as L
import torch
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.dataset import Dataset
from recloom.data.module import query_batches
from recloom.nn.seen_items import SeenItems, places
from recloom.training.method import Method

MOST_ROWS = 1 << 16
"""Histories that are read for it, about: these are few numbers."""

SCORES_PER_BLOCK = 1 << 24
"""Scores formed at one time."""


class FitSeenItems(L.Callback):
    """Fits a method's `seen_items` after each epoch, before it is validated."""

    def __init__(self, data: Dataset) -> None:
        self.data = data

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Method) and pl_module.seen_items is not None
        fit_seen_items(pl_module, pl_module.seen_items, self.data)


@torch.no_grad()
def fit_seen_items(method: Method, seen_items: SeenItems, data: Dataset) -> None:
    """Fit them to what follows the histories of the validation part; nothing else of the method changes.

    On validation, as people come back more often the longer their history is, and as a trained model is too sure of
    the items that followed in training.
    """
    was_training, table, asked = method.training, method.eval().catalogue(), data.split.valid
    every, found, n_rows = -(-len(asked.users) // MOST_ROWS), [], 0
    for rows, batch in query_batches(data, "valid", method.length, max(1, SCORES_PER_BLOCK // len(table))):
        batch = SequenceBatch(batch.users[::every], batch.items[::every]).to(method.device)
        targets = torch.from_numpy(data.sequences.items[asked.stop[rows[::every]]]).to(method.device)
        scores = torch.einsum("bkd,nd->bkn", method.queries(batch), table).amax(1)
        gaps, since, again, row, hits = seen_and_unseen(scores, batch.items, targets)
        found.append([part.cpu() for part in (gaps, since, again, n_rows + row, hits)])
        n_rows += len(targets)
    if n_rows:
        seen_items.fit(*(torch.cat(parts) for parts in zip(*found, strict=True)))
    method.train(was_training)


def seen_and_unseen(scores: Tensor, items: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What `SeenItems.fit` asks for, of scores of all ids `(batch, n_items + 2)` for rows `(batch, width)`."""
    last, since, again = places(items)
    none = torch.tensor([0, scores.shape[1] - 1], device=scores.device)
    unseen = scores.index_fill(1, none, -torch.inf).scatter_(1, items, -torch.inf).logsumexp(1)
    gaps, hits = scores.gather(1, items) - unseen[:, None], items == targets[:, None]
    return gaps[last], since[last], again[last], last.nonzero()[:, 0], hits[last]
