"""DuoRec: a second dropout mask and another history with the same next item are the views of a history.

Paper: Qiu et al., Contrastive Learning for Representation Degeneration Problem in Sequential Recommendation, WSDM 2022.

Departures: weights are selected by NDCG@10 under full-mask (the code: by MRR@10 under full-open, to which
`valid_metric="MRR"` with `valid_protocol="full-open"` is nearest), and the other history is always another user's (in
the code also an earlier part of the same). The code's released default is `contrast="us_x"`: the history under a second
dropout mask against another one with the same target. "un" contrasts two masks of one history, "su" a history with one
of the same target, "us" both. Other histories with the same target stay negatives, as in the code;
`mask_same_target=True` takes them out. Batches hold histories of like length; in the code, and with
`grouping="random"`, any. The index of targets is made from the training rows in memory.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.windows import Windows
from recloom.errors import InputError, refuse_unread
from recloom.methods import sasrec
from recloom.methods.about import About
from recloom.methods.composition import MakeBackbone, composed
from recloom.nn.last_of import last_of
from recloom.objectives import NextItem
from recloom.objectives.info_nce import check_info_nce, info_nce
from recloom.training import Backbone, MakeOptimizer, Method, Stage, WindowsSchedule, states_before_targets

ABOUT = About("Qiu et al., DuoRec, WSDM", 2022)

CONTRASTS = ("us_x", "us", "un", "su")


class SameTarget:
    """Training rows by their last target.

    Args:
        items: flat item array.
        windows: the training rows.
        device: of the batches.
    """

    def __init__(self, items: NDArray[np.int32], windows: Windows, device: torch.device) -> None:
        self.n_users = int(windows.users.max()) + 1
        keys = items[windows.stop - 1].astype(np.int64) * self.n_users + windows.users
        order = np.argsort(keys, kind="stable")
        moved = (items.astype(np.int64), keys[order], windows.start[order], windows.stop[order] - 1)
        self.items, self.keys, self.start, self.stop = (torch.from_numpy(array).to(device) for array in moved)

    def draw(self, users: Tensor, items: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """For each row, another user's with the same target, alike for all of them; the row itself where there is none.

        Args:
            users, targets: `(batch,)`.
            items: `(batch, length)`, the rows themselves.

        Returns:
            `(batch, longest)` int64, right-padded.
        """
        own = targets * self.n_users + users
        first = torch.searchsorted(self.keys, targets * self.n_users)
        last = torch.searchsorted(self.keys, (targets + 1) * self.n_users)
        mine, after = torch.searchsorted(self.keys, own), torch.searchsorted(self.keys, own, right=True)
        others = last - first - (after - mine)
        drawn = torch.rand(len(users), generator=generator, device=users.device, dtype=torch.float64)
        place = first + (drawn * others).long()
        place = torch.where(place >= mine, place + after - mine, place).clamp(max=len(self.keys) - 1)
        start, stop = self.start[place], self.stop[place]
        width = max(items.shape[1], int(torch.where(others > 0, stop - start, 0).max()))
        at = start[:, None] + torch.arange(width, device=users.device)
        rows = self.items[at.clamp(max=len(self.items) - 1)].masked_fill(at >= stop[:, None], 0)
        return torch.where(others[:, None] > 0, rows, torch.nn.functional.pad(items, (0, width - items.shape[1])))


class DuoRec(Method):
    """Next items, plus the contrast of a history with itself and with another one that led to the same item.

    Args:
        backbone: reads the causal context.
        next_item: the main loss.
        contrast: of what: "us_x" (a history under a second dropout mask with another of the same target), "un" (two
            masks of one history), "su" (a history with one of the same target) or "us" (both of these).
        weight: of each contrast.
        temperature: of each contrast.
        similarity: of two states, "dot" or "cosine".
        mask_same_target: in the contrast, rows with the same target are no negatives of each other.
    """

    def __init__(
        self,
        backbone: Backbone,
        next_item: NextItem,
        *,
        contrast: str = "us_x",
        weight: float = 0.1,
        temperature: float = 1.0,
        similarity: str = "dot",
        mask_same_target: bool = False,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        check_info_nce(temperature, similarity)
        if contrast not in CONTRASTS:
            raise InputError(f"contrast={contrast!r} is not known; choose one of {', '.join(CONTRASTS)}")
        self.next_item, self.contrast, self.weight = next_item, contrast, weight
        self.temperature, self.similarity, self.mask_same_target = temperature, similarity, mask_same_target
        self.index: SameTarget | None = None

    def on_fit_start(self) -> None:
        """Index the training rows by target."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.index = SameTarget(data.items, data.windows, self.device)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        assert self.index is not None
        states = states_before_targets(self.backbone, batch)
        terms = {"next_item": self.next_item(states, self.backbone.items.table(), batch, self.generator)}
        if not self.weight:
            return self.total({}, **terms)
        targets = batch.last_targets
        same = targets[:, None] == targets if self.mask_same_target else None

        def contrast(one: Tensor, two: Tensor) -> Tensor:
            return info_nce(one, two, temperature=self.temperature, similarity=self.similarity, same=same)

        if self.contrast in ("us", "un", "su"):
            state = states if states.dim() == 2 else last_of(states, batch.valid)
        if self.contrast != "su":
            again = self.backbone.last(batch.items)
        if self.contrast != "un":
            other = self.backbone.last(self.index.draw(batch.users, batch.items, targets, self.generator))
        if self.contrast in ("us", "un"):
            terms["dropout"] = contrast(state, again)
        if self.contrast in ("us", "su"):
            terms["same_target"] = contrast(state, other)
        if self.contrast == "us_x":
            terms["same_target"] = contrast(again, other)
        return self.total({"dropout": self.weight, "same_target": self.weight}, **terms)


@composed(
    backbone=partial(sasrec.make_backbone, attention_dropout=0.5),
    training=partial(WindowsSchedule, windows="prefixes", epochs=50),
)
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: WindowsSchedule,
    *,
    contrast: str = "us_x",
    contrast_weight: float = 0.1,
    temperature: float = 1.0,
    similarity: str = "dot",
    mask_same_target: bool = False,
    loss: str = "softmax",
    negatives: int = 1,
    precision: str = "auto",
) -> list[Stage]:
    """DuoRec from numbers; see `DuoRec` and, for the main loss, `NextItem`.

    Args:
        contrast_weight: of the contrast.
        windows: "prefixes" has one target a row (code); with "whole", several times cheaper, a row's last target is
            the one that counts in the contrast.
    """
    if not contrast_weight:
        of_contrast = {"contrast": contrast, "temperature": temperature, "similarity": similarity}
        reason = "contrast_weight=0 leaves the contrast out; leave this out too"
        refuse_unread(build, of_contrast | {"mask_same_target": mask_same_target}, reason)
    method = DuoRec(
        backbone(catalog),
        NextItem(loss, negatives=negatives, precision=precision),
        contrast=contrast,
        weight=contrast_weight,
        temperature=temperature,
        similarity=similarity,
        mask_same_target=mask_same_target,
        make_optimizer=training.optimizer(),
    )
    return [training.stage(method)]
