"""Next-item prediction over any backbone: what sequence models share and what pre-training ends in."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD
from recloom.data.windows import WindowsOf, sliding
from recloom.errors import InputError
from recloom.nn.last_of import last_of
from recloom.objectives import NextItem
from recloom.objectives.info_nce import info_nce
from recloom.objectives.supervised_contrast import supervised_contrast
from recloom.training.backbone import Backbone
from recloom.training.method import Method
from recloom.training.optimizers import MakeOptimizer

CONTRASTED = 2048
"""The most states of a batch that are contrasted with each other."""


def states_before_targets(backbone: Backbone, batch: SequenceBatch) -> Tensor:
    """The last states alone, `(batch, dim)`, where every row has its last target alone, else `(batch, length, dim)`."""
    assert batch.targets is not None
    alone = int(batch.targets.count_nonzero()) == len(batch) and bool((batch.last_targets != PAD).all())
    return backbone.last(batch.items) if alone else backbone(batch.items)


def next_item_loss(
    backbone: Backbone,
    next_item: NextItem,
    batch: SequenceBatch,
    generator: Generator,
    temperature: Tensor | None = None,
) -> Tensor:
    """The loss of a batch's targets."""
    states = states_before_targets(backbone, batch)
    return next_item(states, backbone.items.table(), batch, generator, temperature)


def next_items_loss(
    states: Tensor,
    table: Tensor,
    next_item: NextItem,
    batch: SequenceBatch,
    generator: Generator,
    targets: int,
    full: int = 0,
) -> Tensor:
    """As the loss of a batch's targets, for each of the next `targets` items of every position; the mean of all.

    Args:
        full: 0 for every position; else those alone where a window of that many items ends with `targets` items after
            it in the row, and in a shorter row the one position with `targets` items after it, if there is one. Rows
            are those of `rows_of_full_windows`: a position belongs to the first row that counts its next item.
    """
    ahead = [batch.ahead(steps) for steps in range(targets)]
    if full:
        at = torch.arange(batch.items.shape[1], device=batch.items.device)
        last = batch.lengths[:, None] - targets
        kept = (((at >= full - 1) & (at <= last)) | (at == last)) & (batch.targets != PAD)
        ahead = [SequenceBatch(each.users, each.items, each.targets * kept) for each in ahead]  # type: ignore[operator]
    counts = [int(each.targets.count_nonzero()) for each in ahead]  # type: ignore[union-attr]
    pairs = [(each, count) for each, count in zip(ahead, counts, strict=True) if count]
    losses = [next_item(states, table, each, generator) * count for each, count in pairs]
    return torch.stack(losses).sum() / sum(counts) if losses else states.sum() * 0


def rows_of_full_windows(full: int, targets: int, length: int) -> WindowsOf:
    """Rows of at most `length` inputs in which each window of `full` items and `targets` after them is asked for once.

    Raises:
        InputError: no row holds such a window.
    """
    step = min(length // 2, length - full - targets + 2)
    if step < 1:
        raise InputError(
            f"full_windows=True: a row of length={length} holds no window of recent={full} items and targets={targets} "
            f"after them; length must be at least {max(2, full + targets - 1)}"
        )
    return partial(sliding, step=step, again=targets - 1)


def check_full_windows(method: Method, full: int, targets: int) -> None:
    """An `InputError` where `full` windows are asked for, and no row of the training data has a target to give."""
    if not full:
        return
    longest = int(method.trainer.datamodule.windows.lengths.max())  # type: ignore[attr-defined]
    if longest < targets:
        raise InputError(
            f"targets={targets} with full_windows=True: no history has so many items after its first for training; the "
            f"longest has {longest}. Choose fewer targets, or full_windows=False"
        )


class NextItemPrediction(Method):
    """Every state of a causal backbone predicts the item after it.

    SASRec, GRU4Rec and their forms with attributes are this method over their backbones; each one's file says which.

    Args:
        backbone: any backbone that reads the causal context.
        next_item: the loss of the states against their targets.
        learned_temperature: the temperature of the logits is learnt, from its own value on. Cosine logits alone, as
            the vectors of dot products have lengths of their own to learn.
        contrast_weight: of `supervised_contrast` over the states of a batch, at most `CONTRASTED` of them.
        views_weight: of `info_nce` between the last state of each row and that of a second draw of dropout, by cosine
            (SimCSE, Gao et al., EMNLP 2021; DuoRec's "un"). The rows are read twice.
        contrast_temperature: of both contrasts.
        make_optimizer: Adam at 1e-3 if None.
    """

    def __init__(
        self,
        backbone: Backbone,
        next_item: NextItem | None = None,
        *,
        learned_temperature: bool = False,
        contrast_weight: float = 0.0,
        views_weight: float = 0.0,
        contrast_temperature: float = 0.1,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        self.next_item = next_item or NextItem()
        if learned_temperature and self.next_item.logits != "cosine":
            raise InputError(
                f"learned_temperature=true needs logits='cosine'; the vectors of logits={self.next_item.logits!r} "
                "learn their lengths"
            )
        start = torch.tensor(math.log(self.next_item.temperature))
        self.log_temperature = nn.Parameter(start) if learned_temperature else None
        if contrast_temperature <= 0:
            raise InputError(f"contrast_temperature={contrast_temperature} must be above 0")
        self.weights = {"contrast": contrast_weight, "views": views_weight}
        self.contrast_temperature = contrast_temperature

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        assert batch.targets is not None
        if not any(self.weights.values()):
            loss = next_item_loss(self.backbone, self.next_item, batch, self.generator, self.temperature)
            return self.total(next_item=loss)
        states, asked = self.backbone(batch.items), batch.targets != PAD
        found, table, terms = states[asked], self.backbone.items.table(), {}
        terms["next_item"] = self.next_item(found, table, batch, self.generator, self.temperature)
        if self.weights["contrast"]:
            some = torch.randperm(len(found), generator=self.generator, device=found.device)[:CONTRASTED]
            terms["contrast"] = supervised_contrast(found[some], batch.targets[asked][some], self.contrast_temperature)
        if self.weights["views"]:
            one, two = last_of(states, batch.valid), self.backbone.last(batch.items)
            terms["views"] = info_nce(one, two, temperature=self.contrast_temperature, similarity="cosine")
        return self.total(self.weights, **terms)

    @property
    def temperature(self) -> Tensor | None:
        """The learned one; None where it is that of the loss."""
        return None if self.log_temperature is None else self.log_temperature.exp()

    def queries(self, batch: SequenceBatch) -> Tensor:
        asked = super().queries(batch)
        if self.next_item.logits != "cosine":
            return asked
        learned = self.temperature
        return F.normalize(asked, dim=-1) / (self.next_item.temperature if learned is None else learned)

    def catalogue(self) -> Tensor:
        table = self.backbone.items.table()
        return F.normalize(table, dim=-1) if self.next_item.logits == "cosine" else table
