"""What every method is: a training step, and two matrices (or scores) once it is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.errors import InputError
from recloom.nn.seen_items import SeenItems
from recloom.training.backbone import Backbone
from recloom.training.optimizers import MakeOptimizer, adam

NUMBERS_AT_ONCE = 1 << 24
"""The most numbers of item vectors that are gathered at one time for scores of single items."""


class Method(L.LightningModule, ABC):
    """A method of sequential recommendation. Subclasses are final.

    One method is abstract, `training_step`; three may be replaced: `queries`, `catalogue` and
    `configure_optimizers`; `epoch_losses` may add columns to the history. A trained method is two
    matrices, and the score of an item is the largest dot product over the intents of `queries(batch)`.
    A method that has no such vectors sets `ranks_by = "scores"` and replaces `score` instead.

    Args:
        backbone: items and encoder; None for methods that have none.
        length: the most recent items a query reads; the encoder's if None.
        make_optimizer: applied to all parameters by `configure_optimizers`.

    Attributes:
        bias_columns: how many columns at the end of `catalogue` are no part of an item's vector, such as its bias.
        not_exported: why its queries cannot be written as ONNX, where they cannot.
        reads_histories: whether items of a history change what is recommended; else all new users get one list.
        name: what messages call it: its entry in `METHODS`, or its class where it was built by hand.
        seen_items: terms of the items that a history holds, fitted once the method is trained; None for none.
        generator: source of all random draws in views and samplers, seeded anew every epoch.
    """

    ranks_by: ClassVar[str] = "vectors"
    not_exported: ClassVar[str] = ""
    reads_histories: ClassVar[bool] = True
    bias_columns: int = 0
    backbone: Backbone
    seen_items: SeenItems | None

    def __init__(
        self,
        backbone: Backbone | None = None,
        *,
        length: int | None = None,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__()
        if backbone is not None:
            self.backbone = backbone
            length = backbone.encoder.length if length is None else length
        self.length, self.name = 1 if length is None else length, type(self).__name__
        if self.length < 1:
            raise InputError(f"length={length}: at least 1 is needed")
        self.make_optimizer, self.seen_items = make_optimizer or adam(), None
        self._generator: torch.Generator | None = None
        self._recorded: dict[str, tuple[Tensor, int]] = {}

    @abstractmethod
    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Any:
        """One step on a batch: the paper's algorithm."""

    def queries(self, batch: SequenceBatch) -> Tensor:
        """What each history asks for, `(batch, intents, dim)`: here the state at its last item."""
        return self.backbone.last(batch.items)[:, None]

    def catalogue(self) -> Tensor:
        """What each item offers, `(n_items + 2, dim)`."""
        return self.backbone.items.table()

    def score(self, batch: SequenceBatch, items: Tensor) -> Tensor:
        """Scores of candidates, `(batch, candidates)`.

        Args:
            items: `(candidates,)` for all rows, or `(batch, candidates)`.
        """
        queries, table = self.queries(batch), self.catalogue()
        chosen, own = F.embedding(items, table), items.dim() == 2
        scores = torch.einsum("bkd,bcd->bkc", queries, chosen) if own else queries @ chosen.t()
        scores = scores.amax(1)
        if self.seen_items is None:
            return scores
        terms = self.seen_items(batch.items, scores_of(queries, table, batch.items))
        same = (items if own else items[None])[:, :, None] == batch.items[:, None]
        return scores + (same * terms[:, None]).sum(2)

    @property
    def scores_cold_items(self) -> bool:
        """Whether an item without an action in training has a learned vector, by its attributes."""
        items = getattr(getattr(self, "backbone", None), "items", None)
        return getattr(items, "scored_by", "ids") == "items"

    def configure_optimizers(self) -> Any:
        return self.make_optimizer(self.parameters())

    def total(self, weights: Mapping[str, float] | None = None, **terms: Tensor) -> Tensor:
        """The weighted sum of the terms; each is recorded by name and its epoch mean logged as `loss/<name>`.

        A weight of 0 switches its term off exactly; a term without a weight counts once.
        """
        weights = weights or {}
        used = {name: term for name, term in terms.items() if weights.get(name, 1.0) != 0}
        loss = torch.stack([weights.get(name, 1.0) * term for name, term in used.items()]).sum()
        self.record(**used, total=loss)
        return loss

    def record(self, **terms: Tensor) -> None:
        """Keep terms by name; the mean over the steps of an epoch that had one is logged as `loss/<name>`."""
        for name, term in terms.items():
            kept, steps = self._recorded.get(name, (0.0, 0))
            self._recorded[name] = kept + term.detach(), steps + 1

    def epoch_losses(self) -> dict[str, float]:
        """Means of the recorded terms since the last call."""
        means = {f"loss/{name}": float(total) / steps for name, (total, steps) in self._recorded.items()}
        self._recorded = {}
        return means

    @property
    def generator(self) -> torch.Generator:
        if self._generator is None or self._generator.device.type != self.device.type:
            self._generator = torch.Generator(self.device)
        return self._generator


def scores_of(queries: Tensor, table: Tensor, items: Tensor) -> Tensor:
    """Scores of each row's own items, `(batch, width)`.

    Args:
        queries: `(batch, intents, dim)`.
        table: `(n_items + 2, dim)`.
        items: `(batch, width)` ids.
    """
    step = max(1, NUMBERS_AT_ONCE // (items.shape[1] * table.shape[1]))
    blocks = zip(queries.split(step), items.split(step), strict=True)
    found = [torch.einsum("bkd,bwd->bkw", asked, F.embedding(own, table)).amax(1) for asked, own in blocks]
    return torch.cat(found)
