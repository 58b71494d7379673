"""CL4SRec: two random augmentations of a history should end in like states.

Paper: Xie et al., Contrastive Learning for Sequential Recommendation, ICDE 2022. The authors have published no code.

Departures: the next-item loss is the softmax over all items (the paper samples negatives, as `loss` and `negatives`
allow). Ratios, the weight of the
contrast and the rule that a history's two operators differ are those of the implementation in DuoRec's code, which
later tables report; that code also overwrites its stored histories while it augments them, which is not copied.
Histories of one item are left as they are, but for `mask_ratio=1`. Contrast by dot products at temperature 1, over the
other 2B - 1 views. Batches hold rows of like length and equal numbers of targets, so that with `windows="whole"` the
number of rows that are contrasted varies; `grouping="random"` (code) takes any 256. Weights are selected by NDCG@10
under full-mask (code: MRR@10 under full-open).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.errors import InputError, refuse_unread
from recloom.methods import sasrec
from recloom.methods.about import About
from recloom.methods.composition import MakeBackbone, composed
from recloom.objectives import NextItem
from recloom.objectives.info_nce import check_info_nce, info_nce
from recloom.training import Backbone, MakeOptimizer, Method, Stage, WindowsSchedule, next_item_loss
from recloom.views import Operator, crop_items, mask_share, reorder_items, two_different

ABOUT = About("Xie et al., Contrastive Learning for Sequential Recommendation, ICDE", 2022)


def operators(
    mask_id: int, crop_ratio: float, mask_ratio: float, reorder_ratio: float, *, least: int = 0
) -> list[Operator]:
    """The paper's three augmentations with their ratios; a ratio of 0 leaves its operator out.

    Args:
        crop_ratio: share of a history that a crop keeps.
        mask_ratio: share of its items that are hidden.
        reorder_ratio: share of it, in one piece, that is put in another order.
        least: how many the views need.
    """
    ratios = {"crop_ratio": crop_ratio, "mask_ratio": mask_ratio, "reorder_ratio": reorder_ratio}
    for name, ratio in ratios.items():
        if not 0 <= ratio <= 1:
            raise InputError(f"{name}={ratio} must lie in 0..1; 0 leaves the operator out")
    if sum(ratio > 0 for ratio in ratios.values()) < least:
        found = ", ".join(f"{name}={ratio}" for name, ratio in ratios.items())
        raise InputError(f"{found}: the views need at least {least} operators; give as many a ratio above 0")
    every: list[tuple[float, Operator]] = [
        (crop_ratio, lambda items, generator: crop_items(items, crop_ratio, generator)),
        (mask_ratio, lambda items, generator: mask_share(items, mask_id, mask_ratio, generator)),
        (reorder_ratio, lambda items, generator: reorder_items(items, reorder_ratio, generator)),
    ]
    return [operator for ratio, operator in every if ratio]


class CL4SRec(Method):
    """Next items, plus the contrast of two augmented views.

    Args:
        backbone: reads the causal context.
        next_item: the main loss.
        operators: at least two.
        weight: of the contrast.
        temperature: of the contrast.
    """

    def __init__(
        self,
        backbone: Backbone,
        next_item: NextItem,
        operators: list[Operator],
        *,
        weight: float = 0.1,
        temperature: float = 1.0,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        check_info_nce(temperature)
        self.next_item, self.operators, self.weight, self.temperature = next_item, operators, weight, temperature

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        terms = {"next_item": next_item_loss(self.backbone, self.next_item, batch, self.generator)}
        if self.weight:
            views = two_different(batch.items, self.operators, self.generator)
            one, two = self.backbone.last(torch.cat(views)).chunk(2)
            terms["contrast"] = info_nce(one, two, temperature=self.temperature)
        return self.total({"contrast": self.weight}, **terms)


@composed(
    backbone=partial(sasrec.make_backbone, attention_dropout=0.5),
    training=partial(WindowsSchedule, windows="prefixes"),
)
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: WindowsSchedule,
    *,
    crop_ratio: float = 0.6,
    mask_ratio: float = 0.3,
    reorder_ratio: float = 0.6,
    contrast_weight: float = 0.1,
    temperature: float = 1.0,
    loss: str = "softmax",
    negatives: int = 1,
    precision: str = "auto",
) -> list[Stage]:
    """CL4SRec from numbers; see `operators`, `NextItem` and `CL4SRec`.

    Args:
        contrast_weight: of the contrast of the two views.
        temperature: of the contrast.
        windows: "prefixes" has one target a row (code); "whole" all targets of a history, several times cheaper.
    """
    if not contrast_weight:
        reason = "contrast_weight=0 leaves the contrast out; leave this out too"
        refuse_unread(build, {"temperature": temperature}, reason)
    method = CL4SRec(
        backbone(catalog),
        NextItem(loss, negatives=negatives, precision=precision),
        operators(catalog.mask_id, crop_ratio, mask_ratio, reorder_ratio, least=2 if contrast_weight else 0),
        weight=contrast_weight,
        temperature=temperature,
        make_optimizer=training.optimizer(),
    )
    return [training.stage(method)]
