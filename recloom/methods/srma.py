"""SRMA: views of a history by changes of the model: masked neurons, dropped layers, another encoder beside it.

Paper: Liu et al., Self-supervised Learning for Sequential Recommendation with Model Augmentation, 2022.

Departures: the next-item loss is the softmax over all items (`loss="bce"` is the paper's, with negatives outside the
row; code: outside the whole history). It passes through the extra layers, some left out, as in the code with
`--rec_model_aug`; without that option the code trains next items before those layers, and serves behind them. Masked
neurons are the dropout, as in the code. The encoder beside it is trained first, by the first stage, and is read without
dropout and never trained on (in the code it keeps its dropout, and the published command leaves it out).
`complement="contrast"` (code) adds a contrast of both views with its reading of the history, "states" (paper) its
reading of each view to the view's own, `complement_weight` times, which the paper tells no value of: the default is the
contrast's, and small here. The weight of the contrast is that of the whole loss: the code's .1 (README .5) stands
within the contrast's .1. `preset` sets complement, loss, grouping and that choice, where they are not given, to what
the paper or the code has. `layer_choice="distinct"` drops other layers for each view; "same" (code) drops the same for
both. The identity is among the operators (in the code none leaves a row as it is). Views are of the latest `length`
items (code: of all, cut afterwards), and a run may begin at every place (code: not at the last). The encoder beside has
no extra layers and learns next items alone (README: it is itself trained by this method first). Batches hold rows of
like length and equal numbers of targets; `grouping="random"` (code) takes any 256. Weights are selected by NDCG@10
(code: NDCG@20). Hidden items become the mask item; `contrast_on="flat"` compares all states end to end, with nothing
before the start of a history.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD, Catalog
from recloom.encoders import Encoder
from recloom.errors import InputError, refuse_unread
from recloom.methods import sasrec
from recloom.methods.about import About
from recloom.methods.cl4srec import operators
from recloom.methods.composition import MakeBackbone, composed, with_presets
from recloom.nn.dropout import dropout as drop
from recloom.nn.packing import Packing
from recloom.nn.row_vectors import READINGS, real_values, row_vectors
from recloom.nn.transformer_blocks import EPS
from recloom.objectives import NextItem
from recloom.objectives.info_nce import check_info_nce, info_nce
from recloom.training import Backbone, MakeOptimizer, Method, NextItemPrediction, Stage, WindowsSchedule, next_item_loss
from recloom.views import Operator, one_of

ABOUT = About("Liu et al., Self-supervised Learning for Sequential Recommendation with Model Augmentation", 2022)

COMPLEMENTS = ("contrast", "states")


class ExtraLayers(Encoder):
    """Light layers behind an encoder, `norm(x + dropout(GELU(W x + b)))`, some of which are left out while training.

    Args:
        encoder: what comes before.
        extra: how many layers; all are used outside training.
        left_out: how many of them, drawn at each call, are left out while training.
        dropout: rate in each.
    """

    def __init__(self, encoder: Encoder, extra: int, left_out: int, dropout: float) -> None:
        super().__init__()
        if extra < 0:
            raise InputError(f"extra_layers={extra} must be 0 or more")
        if not 0 <= left_out <= extra:
            raise InputError(f"left_out={left_out} of extra_layers={extra}: must lie in 0..{extra}")
        self.contexts = encoder.contexts  # type: ignore[misc]
        self.encoder, self.left_out, self.dropout = encoder, left_out, dropout
        self.dim, self.length = encoder.dim, encoder.length
        self.layers = nn.ModuleList(nn.Linear(self.dim, self.dim) for _ in range(extra))
        self.norms = nn.ModuleList(nn.LayerNorm(self.dim, EPS) for _ in range(extra))
        for layer in self.layers:
            nn.init.normal_(layer.weight, 0, 0.02)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    @property
    def input_dim(self) -> int:
        return self.encoder.input_dim

    def forward(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        return self._behind(self.encoder(vectors, valid, context))

    def last(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        return self._behind(self.encoder.last(vectors, valid, context))

    def packing(self, valid: Tensor) -> Packing | None:
        return self.encoder.packing(valid)

    def of_packed(
        self, vectors: Tensor, packed: Packing, slots: Tensor | None = None, context: str = "causal"
    ) -> Tensor:
        return self._behind(self.encoder.of_packed(vectors, packed, slots, context))

    def used(self) -> list[int]:
        """The places of the layers of one call."""
        n = len(self.layers)
        return sorted(torch.randperm(n)[self.left_out :].tolist()) if self.training and self.left_out else [*range(n)]

    def _behind(self, states: Tensor) -> Tensor:
        for place in self.used():
            wide = drop(F.gelu(self.layers[place](states)), self.dropout, self.training)
            states = self.norms[place](states + wide)
        return states


class SRMA(Method):
    """Next items, plus the contrast of two views of each history, and of both with another encoder's reading.

    Args:
        backbone: reads the causal context.
        next_item: the main loss.
        operators: of the views beside those of the model; each view draws one, or none.
        beside: a trained backbone of the same data; None for none.
        weight: of the contrast of the views.
        complement: "contrast" of the views with the other encoder's reading of the history, or "states": its reading of
            each view is added to the view's.
        complement_weight: of the other encoder, in either way.
        temperature: of the contrasts.
        contrast_on: what of two views is compared: "flat" (all states end to end), "mean" (their mean) or "last" (the
            last one).
        layer_choice: the two views leave out layers drawn for each ("distinct"), or the "same" ones.
    """

    def __init__(
        self,
        backbone: Backbone,
        next_item: NextItem,
        operators: list[Operator],
        *,
        beside: Backbone | None = None,
        weight: float = 0.1,
        complement: str = "contrast",
        complement_weight: float = 0.1,
        temperature: float = 1.0,
        contrast_on: str = "flat",
        layer_choice: str = "distinct",
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        check_info_nce(temperature)
        for name, value, allowed in (
            ("complement", complement, COMPLEMENTS),
            ("contrast_on", contrast_on, READINGS),
            ("layer_choice", layer_choice, ("distinct", "same")),
        ):
            if value not in allowed:
                raise InputError(f"{name}={value!r} is not known; choose one of {', '.join(allowed)}")
        self.next_item, self.operators, self.beside = next_item, [*operators, lambda items, draw: items], beside
        contrasted = beside is not None and complement == "contrast"
        self.weights = {"contrast": weight, "complement": complement_weight if contrasted else 0.0}
        self.added = complement_weight if beside is not None and not contrasted else 0.0
        self.temperature, self.contrast_on, self.layer_choice = temperature, contrast_on, layer_choice

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        terms = {"next_item": next_item_loss(self.backbone, self.next_item, batch, self.generator)}
        if any(self.weights.values()):
            one, two = self.views(batch.items)
            valid = batch.items != PAD  # no operator makes a row longer
            contrast = partial(
                info_nce,
                temperature=self.temperature,
                real=real_values(self.contrast_on, self.backbone.encoder.dim, valid, valid),
            )
            terms["contrast"] = contrast(one, two)
        if self.weights["complement"]:
            other = self.read_beside(batch.items)
            terms["complement"] = torch.stack([contrast(view, other) for view in (one, two)]).sum()
        return self.total(self.weights, **terms)

    def views(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """One vector for each of two views of every row."""
        one, two = (one_of(items, self.operators, self.generator) for _ in range(2))
        if self.layer_choice == "distinct":
            return self.view(one), self.view(two)
        width = max(one.shape[1], two.shape[1])
        both = torch.cat([F.pad(view, (0, width - view.shape[1])) for view in (one, two)])
        first, second = self.view(both).chunk(2)
        return first, second

    def view(self, items: Tensor) -> Tensor:
        own = self.read(self.backbone, items)
        return own + self.added * self.read_beside(items) if self.added else own

    def read_beside(self, items: Tensor) -> Tensor:
        assert self.beside is not None
        self.beside.eval()
        with torch.no_grad():
            return self.read(self.beside, items)

    def read(self, backbone: Backbone, items: Tensor) -> Tensor:
        return row_vectors(backbone(items), items != PAD, self.contrast_on, self.length)

    def configure_optimizers(self) -> Any:
        return self.make_optimizer(value for name, value in self.named_parameters() if not name.startswith("beside."))


@with_presets(
    paper={"loss": "bce", "grouping": "random", "complement": "states"},
    code={"loss": "bce", "grouping": "random", "complement": "contrast", "layer_choice": "same"},
)
@composed(
    backbone=partial(sasrec.make_backbone, attention_dropout=0.1, positions="from_end"),
    training=partial(WindowsSchedule, epochs=300, patience=40),
)
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: WindowsSchedule,
    *,
    extra_layers: int = 2,
    left_out: int = 1,
    layer_choice: str = "distinct",
    crop_ratio: float = 0.2,
    mask_ratio: float = 0.7,
    reorder_ratio: float = 0.2,
    contrast_weight: float = 0.1,
    complement: str = "contrast",
    complement_weight: float = 0.01,
    temperature: float = 1.0,
    contrast_on: str = "flat",
    loss: str = "softmax",
    negatives: int = 1,
    precision: str = "auto",
    pretrain_epochs: int = 100,
) -> list[Stage]:
    """SRMA from numbers: first the encoder beside it, then the method. `complement_weight=0` leaves the first out.

    So does `contrast_weight=0` with `complement="states"`, whose views nothing reads.

    See `SRMA`, `operators` and, for the main loss, `NextItem`.

    Args:
        extra_layers: light layers behind the encoder, some of which are left out in each view.
        left_out: how many of them.
        contrast_weight: of the contrast of the views.
        pretrain_epochs: of the encoder beside it, the most; it stops 10 after the best, whatever `patience` says.
        preset: "paper" or "code": what either has, for the arguments in which they differ and that are not given.
    """
    next_item, make_optimizer = NextItem(loss, negatives=negatives, precision=precision), training.optimizer()
    has_beside = complement_weight and (complement != "states" or contrast_weight)
    if not has_beside:
        refuse_unread(build, {"pretrain_epochs": pretrain_epochs}, "there is no encoder beside; leave it out")
    beside, plain = backbone(catalog) if has_beside else None, backbone(catalog)
    method = SRMA(
        Backbone(plain.items, ExtraLayers(plain.encoder, extra_layers, left_out, backbone.keywords["dropout"])),
        next_item,
        operators(catalog.mask_id, crop_ratio, mask_ratio, reorder_ratio),
        beside=beside,
        weight=contrast_weight,
        complement=complement,
        complement_weight=complement_weight,
        temperature=temperature,
        contrast_on=contrast_on,
        layer_choice=layer_choice,
        make_optimizer=make_optimizer,
    )
    stages = [training.stage(method)]
    if beside is None:
        return stages
    first = NextItemPrediction(beside, next_item, make_optimizer=make_optimizer)
    before = replace(training, epochs=pretrain_epochs, patience=10, seen_items=False)
    return [before.stage(first, name="pretrain"), *stages]
