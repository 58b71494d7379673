"""CoSeRec: contrast of views in which items are exchanged for, or joined by, the ones they go together with.

Paper: Liu et al., Contrastive Self-supervised Sequential Recommendation with Robust Augmentation, 2021.

Departures: the next-item loss is the softmax over all items (`loss="bce"` is the paper's, with negatives outside the
row; code: outside the whole history); rows are whole histories, as in the paper. Items are correlated over all training
items (the code leaves each history's last one out) and count once a user. After `warmup` epochs (code: one more) the
partner of an item is whichever of the best one by correlation and the best one by the product of the items' present
vectors has the higher score, each kind of score scaled to 0..1 over these best ones (code: over all pairs of items);
partners by vectors are found anew each epoch, among items that were trained. An item that no other correlates with is
its own partner (code: any item). Views are of the latest `length` items, whose number `threshold` reads too (code: of
all of a history, cut afterwards), and a run to crop or reorder may begin at every place (code: not at the last). With
`correlated` above 1 (the code has 1) partners of each rank are so compared. Hidden items become the mask item (the code
writes padding). `contrast_on="flat"` compares all states of a row, end to end, as the code does, with nothing before
the start of a history, where the code has states of padding. The code passes the mask's ratio to the reordering:
`reorder_ratio=0.7` repeats that. `preset` sets loss, grouping and that ratio, where not given, to what the paper or the
code has. Batches hold rows of like length and equal numbers of targets, so that the number of rows that are contrasted
varies; `grouping="random"` (code) takes any 256. Weights are selected by NDCG@10 (code: NDCG@20). `threshold=0` is the
code's "SIMRC" of Beauty: all operators for all histories.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD, Catalog
from recloom.data.correlation import correlated_items
from recloom.errors import InputError, refuse_unread
from recloom.methods import sasrec
from recloom.methods.about import About
from recloom.methods.composition import MakeBackbone, composed, with_presets
from recloom.nn.row_vectors import READINGS, real_values, row_vectors
from recloom.objectives import NextItem
from recloom.objectives.info_nce import check_info_nce, info_nce
from recloom.training import Backbone, MakeOptimizer, Method, Stage, WindowsSchedule, next_item_loss
from recloom.views import crop_items, floor_share, insert_items, mask_share, one_of, reorder_items, substitute_items

ABOUT = About("Liu et al., Contrastive Self-supervised Sequential Recommendation with Robust Augmentation", 2021)

OPERATORS = ("substitute", "insert", "mask", "crop", "reorder")
FOR_SHORT = torch.tensor([True, True, True, False, False])
"""Operators that leave enough of a short history ("SIM")."""


class CoSeRec(Method):
    """Next items, plus the contrast of two views of each history, each by one operator of five.

    Args:
        backbone: reads the causal context.
        next_item: the main loss.
        catalog: which items were trained.
        ratios: of each of `OPERATORS`; 0 leaves it out.
        threshold: histories of at most so many items are seen through "substitute", "insert" and "mask" alone.
        correlated: of so many items that go together best with an item, one is drawn for each place of a view.
        warmup: epochs before the items' vectors also say which go together; None for never.
        weight, temperature: of the contrast.
        contrast_on: what of two views is compared: "flat" (all states end to end), "mean" (their mean) or "last" (the
            last one).
    """

    on: Tensor
    trained: Tensor

    def __init__(
        self,
        backbone: Backbone,
        next_item: NextItem,
        catalog: Catalog,
        ratios: dict[str, float],
        *,
        threshold: int = 4,
        correlated: int = 1,
        warmup: int | None = 160,
        weight: float = 0.1,
        temperature: float = 1.0,
        contrast_on: str = "flat",
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        check_info_nce(temperature)
        if contrast_on not in READINGS:
            raise InputError(f"contrast_on={contrast_on!r} is not known; choose one of {', '.join(READINGS)}")
        for name, ratio in ratios.items():
            if not 0 <= ratio <= 1:
                raise InputError(f"{name}_ratio={ratio} must lie in 0..1; 0 leaves the operator out")
        on = torch.tensor([ratios[name] > 0 for name in OPERATORS])
        needed = FOR_SHORT if threshold > 0 else torch.ones_like(FOR_SHORT)
        if weight and not (on & needed).any():
            some = ", ".join(f"{name}_ratio" for name, need in zip(OPERATORS, needed.tolist(), strict=True) if need)
            whose = f"histories of at most threshold={threshold} items" if threshold > 0 else "views"
            raise InputError(f"{whose} need an operator: give one of {some} a value above 0")
        for name, count in (("threshold", threshold), ("warmup", warmup or 0)):
            if count < 0:
                raise InputError(f"{name}={count} must be 0 or more")
        if not 1 <= correlated < max(2, int(catalog.trained[1:-1].sum())):
            raise InputError(f"correlated={correlated} must be at least 1 and below the number of trained items")
        self.next_item, self.ratios, self.threshold, self.warmup = next_item, ratios, threshold, warmup
        self.correlated = correlated
        self.weight, self.temperature, self.contrast_on = weight, temperature, contrast_on
        self.register_buffer("on", on, persistent=False)
        self.register_buffer("trained", torch.from_numpy(catalog.trained), persistent=False)
        self.by_actions: tuple[Tensor, Tensor] | None = None
        self.partners: Tensor | None = None

    def on_fit_start(self) -> None:
        """Correlate the items of the training histories."""
        users, items = self.trainer.datamodule.actions()  # type: ignore[attr-defined]
        ids, scores = correlated_items(users, items, self.backbone.items.n_items, self.correlated)
        self.by_actions = torch.from_numpy(ids).to(self.device), torch.from_numpy(scores).to(self.device)
        self.partners = self.whole(self.by_actions[0])

    def on_train_epoch_start(self) -> None:
        """After the warm-up, let the items' vectors have a say."""
        if self.warmup is not None and self.current_epoch >= self.warmup:
            self.partners = self.hybrid()

    def whole(self, partners: Tensor) -> Tensor:
        """An item without a partner is its own; one with too few has its first one again."""
        first, own = partners[:, :1], torch.arange(len(partners), device=partners.device)[:, None]
        return torch.where(partners == PAD, torch.where(first == PAD, own, first), partners)

    @torch.no_grad()
    def hybrid(self) -> Tensor:
        """The better of each item's two partners of each rank, `(n_items + 2, correlated)`."""
        assert self.by_actions is not None
        ids, scores = self.by_actions
        vectors, others = self.backbone.items.table(), self.trained.clone()
        others[[0, -1]] = False
        near, products = torch.zeros_like(ids), torch.full_like(scores, -torch.inf)
        for rows in torch.arange(len(ids), device=self.device).split(1024):
            similar = (vectors[rows] @ vectors.t()).masked_fill(~others, -torch.inf)
            similar[torch.arange(len(rows), device=self.device), rows] = -torch.inf
            products[rows], near[rows] = similar.topk(self.correlated)
        others = others[:, None]
        real = others & (ids != PAD)
        better = (ids == PAD) | (scaled(products, real) > scaled(scores, real))
        return self.whole(torch.where(better & others, near, ids))

    def company(self, items: Tensor) -> Tensor:
        """A partner for each item of some rows."""
        assert self.partners is not None
        found = self.partners[items]
        if self.correlated == 1:
            return found[..., 0]
        rank = torch.randint(self.correlated, (*items.shape, 1), generator=self.generator, device=items.device)
        return found.gather(2, rank)[..., 0]

    def views(self, items: Tensor) -> Tensor:
        """One view of each row, by one operator."""
        partners, ratios, lengths = self.company(items), self.ratios, (items != PAD).sum(1)
        sizes = floor_share(lengths, ratios["insert"]).clamp(min=1)
        short = lengths[:, None] <= self.threshold
        mask_id, length = self.backbone.items.mask_id, self.length
        return one_of(
            items,
            [
                lambda rows, draw: substitute_items(rows, partners, ratios["substitute"], draw),
                lambda rows, draw: insert_items(rows, partners, sizes, length, draw),
                lambda rows, draw: mask_share(rows, mask_id, ratios["mask"], draw),
                lambda rows, draw: crop_items(rows, ratios["crop"], draw),
                lambda rows, draw: reorder_items(rows, ratios["reorder"], draw),
            ],
            self.generator,
            self.on & (FOR_SHORT.to(items.device) | ~short),
        )

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        terms = {"next_item": next_item_loss(self.backbone, self.next_item, batch, self.generator)}
        if self.weight:
            views = [self.views(batch.items) for _ in range(2)]
            real = real_values(self.contrast_on, self.backbone.encoder.dim, *(view != PAD for view in views))
            terms["contrast"] = info_nce(*map(self.read, views), temperature=self.temperature, real=real)
        return self.total({"contrast": self.weight}, **terms)

    def read(self, items: Tensor) -> Tensor:
        """One vector for each row."""
        if self.contrast_on == "last":
            return self.backbone.last(items)
        return row_vectors(self.backbone(items), items != PAD, self.contrast_on, self.length)


def scaled(scores: Tensor, real: Tensor) -> Tensor:
    """Scores moved to 0..1 by the least and the most of the real ones; all 0 where these are equal or none is real."""
    if not real.any():
        return torch.zeros_like(scores)
    low, high = scores[real].min(), scores[real].max()
    return (scores - low) / (high - low).clamp(min=1e-12)


def make_method(
    catalog: Catalog,
    backbone: Backbone,
    make_optimizer: MakeOptimizer,
    *,
    substitute_ratio: float = 0.1,
    insert_ratio: float = 0.4,
    mask_ratio: float = 0.7,
    crop_ratio: float = 0.2,
    reorder_ratio: float = 0.2,
    threshold: int = 4,
    correlated: int = 1,
    warmup: int | None = 160,
    contrast_weight: float = 0.1,
    temperature: float = 1.0,
    contrast_on: str = "flat",
    loss: str = "softmax",
    negatives: int = 1,
    precision: str = "auto",
) -> CoSeRec:
    """The method over any backbone. Beauty in the code: threshold 12, insert .5, substitute .05, warmup 220.

    See `CoSeRec`, and `NextItem` for the main loss.

    Args:
        substitute_ratio: share of a history's items that are exchanged for correlated ones; 0 leaves an operator out.
        insert_ratio: correlated items that are put in, over a history's own.
        mask_ratio: share of its items that are hidden.
        crop_ratio: share of it that a crop keeps.
        reorder_ratio: share of it, in one piece, that is put in another order.
        contrast_weight: of the contrast of the two views.
        temperature: of the contrast.
    """
    of_partners = {"correlated": correlated, "warmup": warmup}
    if not contrast_weight:
        of_contrast = {"threshold": threshold, "temperature": temperature, "contrast_on": contrast_on}
        reason = "contrast_weight=0 leaves the contrast out; leave this out too"
        refuse_unread(make_method, of_contrast | of_partners, reason)
    if not substitute_ratio and not insert_ratio:
        reason = "substitute_ratio=0 and insert_ratio=0 leave out what reads correlated items; leave this out too"
        refuse_unread(make_method, of_partners, reason)
    ratios = (substitute_ratio, insert_ratio, mask_ratio, crop_ratio, reorder_ratio)
    return CoSeRec(
        backbone,
        NextItem(loss, negatives=negatives, precision=precision),
        catalog,
        dict(zip(OPERATORS, ratios, strict=True)),
        threshold=threshold,
        correlated=correlated,
        warmup=warmup,
        weight=contrast_weight,
        temperature=temperature,
        contrast_on=contrast_on,
        make_optimizer=make_optimizer,
    )


@with_presets(
    paper={"loss": "bce", "grouping": "random", "reorder_ratio": 0.2},
    code={"loss": "bce", "grouping": "random", "reorder_ratio": 0.7},
)
@composed(
    backbone=partial(sasrec.make_backbone, attention_dropout=0.5, positions="from_end"),
    method=make_method,
    training=partial(WindowsSchedule, epochs=300, patience=40),
)
def build(
    catalog: Catalog, backbone: MakeBackbone, method: Callable[..., CoSeRec], training: WindowsSchedule
) -> list[Stage]:
    """CoSeRec from numbers; see `make_method`.

    Args:
        preset: "paper" or "code": what either has, for the arguments in which they differ and that are not given.
    """
    return [training.stage(method(catalog, backbone(catalog), training.optimizer()))]
