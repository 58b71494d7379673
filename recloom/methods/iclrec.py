"""ICLRec: a history and its views lie near the centre of the intent they share with other histories.

Paper: Chen et al., Intent Contrastive Learning for Sequential Recommendation, WWW 2022.

Departures: the next-item loss is the softmax over all items (`loss="bce"` is the paper's). A history is read as the
mean of its states, padding left out (the code averages it in); `contrast_on="flat"` compares all states of two views
end to end, as the code does, with nothing before the start of a history. Hidden items become the mask item (the code
writes padding). Views are of the latest `length` items (code: of all, cut afterwards), and a run may begin at every
place (code: not at the last). Histories are assigned to the normalised centres that the contrast uses (the code assigns
before normalising). Clusters come from one k-means++ start of our own at each epoch's beginning (the code: the best of
five by faiss); `restarts=5` asks for as many, `clustering="faiss"` for faiss, "auto" for faiss where it is installed,
by which one seed gives other numbers on other machines. `mask_same_intent=True` takes histories of one intent out of
each other's negatives in the intent's contrast, which the paper has and no released script switches on. Batches hold
rows of like length and equal numbers of targets; `grouping="random"` (code) takes any 256. Each contrast is over all
other views and centres of the batch. Weights are selected by NDCG@10 (code: NDCG@20). `preset` sets loss, grouping,
restarts and that choice, where they are not given, to what the paper or the code has.
"""

from __future__ import annotations

import importlib.util
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD, Catalog
from recloom.data.module import window_batch
from recloom.errors import InputError, refuse_unread
from recloom.methods import sasrec
from recloom.methods.about import About
from recloom.methods.cl4srec import operators
from recloom.methods.composition import MakeBackbone, composed, with_presets
from recloom.nn.k_means import k_means, nearest
from recloom.nn.row_vectors import READINGS, real_values, row_vectors
from recloom.objectives import NextItem
from recloom.objectives.info_nce import check_info_nce, info_nce
from recloom.training import Backbone, MakeOptimizer, Method, Stage, WindowsSchedule, next_item_loss
from recloom.views import Operator, one_of

ABOUT = About("Chen et al., Intent Contrastive Learning for Sequential Recommendation, WWW", 2022)

ROWS_AT_ONCE = 1024
CLUSTERINGS = ("torch", "faiss", "auto")


class ICLRec(Method):
    """Next items, the contrast of two views, and that of each view with the centre of its history's intent.

    Args:
        backbone: reads the causal context.
        next_item: the main loss.
        operators: of the views; each draws one.
        intents: clusters of histories.
        contrast_weight: of the contrast of the two views.
        intent_weight: of the contrast with the intents' centres.
        temperature: of both contrasts.
        contrast_on: what of two views is compared: "flat" (all states end to end), "mean" (their mean) or "last" (the
            last one). With centres it is "mean".
        mask_same_intent: histories of one intent are no negatives of each other in the intent's contrast.
        clustering: by "torch", "faiss", or "auto": faiss where it is installed.
        restarts: clusterings of an epoch, of which the closest is kept.
    """

    def __init__(
        self,
        backbone: Backbone,
        next_item: NextItem,
        operators: list[Operator],
        *,
        intents: int = 256,
        contrast_weight: float = 0.1,
        intent_weight: float = 0.1,
        temperature: float = 1.0,
        contrast_on: str = "flat",
        mask_same_intent: bool = False,
        clustering: str = "torch",
        restarts: int = 1,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        check_info_nce(temperature)
        if contrast_on not in READINGS:
            raise InputError(f"contrast_on={contrast_on!r} is not known; choose one of {', '.join(READINGS)}")
        if clustering not in CLUSTERINGS:
            raise InputError(f"clustering={clustering!r} is not known; choose one of {', '.join(CLUSTERINGS)}")
        if intents < 1 or restarts < 1:
            raise InputError(f"intents={intents} and restarts={restarts} must be at least 1")
        self.next_item, self.operators, self.intents, self.temperature = next_item, operators, intents, temperature
        self.weights = {"contrast": contrast_weight, "intent": intent_weight}
        self.contrast_on, self.mask_same_intent = contrast_on, mask_same_intent
        self.clustering, self.restarts = clustering, restarts
        self.centres: Tensor | None = None

    def on_train_epoch_start(self) -> None:
        """The expectation step: cluster all training histories as the model reads them now, without dropout."""
        if not self.weights["intent"]:
            return
        data, found = self.trainer.datamodule, []  # type: ignore[attr-defined]
        self.eval()
        with torch.no_grad():
            order = np.argsort(data.windows.lengths, kind="stable")
            for first in range(0, len(order), ROWS_AT_ONCE):
                rows = order[first : first + ROWS_AT_ONCE]
                items = window_batch(data.items, data.windows, rows).items.to(self.device)
                found.append(self.mean(items))
        self.train()
        self.centres = F.normalize(self.cluster(torch.cat(found)), dim=1)

    def cluster(self, points: Tensor) -> Tensor:
        """`(histories, dim)` -> `(intents, dim)`."""
        wanted = self.clustering
        if wanted == "torch" or (wanted == "auto" and importlib.util.find_spec("faiss") is None):
            return k_means(points, self.intents, self.generator, restarts=self.restarts)[0]
        try:
            import faiss
        except ImportError as error:
            raise InputError("clustering='faiss' needs faiss; pip install 'recloom[ann]'") from error
        seed = int(torch.randint(2**31 - 1, (1,), generator=self.generator, device=self.device))
        k = min(self.intents, len(points))
        kind = faiss.Kmeans(
            points.shape[1], k, niter=20, nredo=self.restarts, seed=seed, min_points_per_centroid=1,
            max_points_per_centroid=4096,
        )  # fmt: skip
        kind.train(np.ascontiguousarray(points.cpu().numpy(), dtype=np.float32))
        return torch.from_numpy(kind.centroids).to(points)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        terms = {"next_item": next_item_loss(self.backbone, self.next_item, batch, self.generator)}
        if any(self.weights.values()):
            views = [one_of(batch.items, self.operators, self.generator) for _ in range(2)]
            states = [self.backbone(view) for view in views]
        if self.weights["contrast"]:
            one, two = (self.read(x, view, self.contrast_on) for x, view in zip(states, views, strict=True))
            real = real_values(self.contrast_on, self.backbone.encoder.dim, *(view != PAD for view in views))
            terms["contrast"] = info_nce(one, two, temperature=self.temperature, real=real)
        if self.weights["intent"]:
            assert self.centres is not None
            with torch.no_grad():
                intents, _ = nearest(self.mean(batch.items), self.centres)
            same = intents[:, None] == intents if self.mask_same_intent else None
            centres = self.centres[intents]
            sides = [
                info_nce(self.read(x, view, "mean"), centres, temperature=self.temperature, same=same)
                for x, view in zip(states, views, strict=True)
            ]
            terms["intent"] = torch.stack(sides).mean()
        return self.total(self.weights, **terms)

    def read(self, states: Tensor, items: Tensor, reading: str) -> Tensor:
        return row_vectors(states, items != PAD, reading, self.length)

    def mean(self, items: Tensor) -> Tensor:
        """The mean state of each row, `(batch, dim)`."""
        return self.read(self.backbone(items), items, "mean")


@with_presets(
    paper={"loss": "bce", "grouping": "random", "restarts": 1, "mask_same_intent": True},
    code={"loss": "bce", "grouping": "random", "restarts": 5, "mask_same_intent": False},
)
@composed(
    backbone=partial(sasrec.make_backbone, attention_dropout=0.5, positions="from_end"),
    training=partial(WindowsSchedule, epochs=300, patience=40),
)
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: WindowsSchedule,
    *,
    crop_ratio: float = 0.2,
    mask_ratio: float = 0.7,
    reorder_ratio: float = 0.2,
    intents: int = 256,
    contrast_weight: float = 0.1,
    intent_weight: float = 0.1,
    temperature: float = 1.0,
    contrast_on: str = "flat",
    mask_same_intent: bool = False,
    clustering: str = "torch",
    restarts: int = 1,
    loss: str = "softmax",
    negatives: int = 1,
    precision: str = "auto",
) -> list[Stage]:
    """ICLRec from numbers; see `ICLRec`, `operators` and, for the main loss, `NextItem`.

    Layers in the code: Beauty 1, Sports 2, Toys 3, Yelp 2.

    Args:
        preset: "paper" or "code": what either has, for the arguments in which they differ and that are not given.
    """
    if not intent_weight:  # the others a preset may have set
        reason = "intent_weight=0 leaves the intents out; leave this out too"
        refuse_unread(build, {"intents": intents, "clustering": clustering}, reason)
    drawn = bool(contrast_weight or intent_weight)
    method = ICLRec(
        backbone(catalog),
        NextItem(loss, negatives=negatives, precision=precision),
        operators(catalog.mask_id, crop_ratio, mask_ratio, reorder_ratio, least=int(drawn)),
        intents=intents,
        contrast_weight=contrast_weight,
        intent_weight=intent_weight,
        temperature=temperature,
        contrast_on=contrast_on,
        mask_same_intent=mask_same_intent,
        clustering=clustering,
        restarts=restarts,
        make_optimizer=training.optimizer(),
    )
    return [training.stage(method)]
