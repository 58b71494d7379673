"""SASRec: a causal transformer whose state at each position predicts the next item.

Paper: Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018.

Departures: the loss is the softmax over all items at every position, which the later literature found 35 to 70 %
better than the paper's `loss="bce"` with one negative. The block is by default the post-norm GELU block of width 4d
that S3-Rec and its successors call SASRec; `block="original"` is the paper's, with an output projection after the
heads that its code lacks. Attention weights have no dropout unless `attention_dropout` is set; the published runs of
that family use 0.5.
"""

from __future__ import annotations

import torch

from recloom.data.catalog import Catalog
from recloom.data.windows import get_windows
from recloom.encoders import Transformer
from recloom.items import IdEmbedding
from recloom.methods.about import About
from recloom.objectives import NextItem
from recloom.training import Backbone, NextItemPrediction, Stage, adam

ABOUT = About("Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM", 2018)


def make_backbone(
    catalog: Catalog,
    *,
    dim: int = 64,
    layers: int = 2,
    heads: int = 2,
    length: int = 50,
    dropout: float = 0.5,
    attention_dropout: float = 0.0,
    block: str = "bert",
    inner: int | None = None,
    activation: str | None = None,
    positions: str = "from_start",
) -> Backbone:
    """Item vectors under a transformer."""
    encoder = Transformer(
        dim,
        layers=layers,
        heads=heads,
        length=length,
        dropout=dropout,
        attention_dropout=attention_dropout,
        block=block,
        inner=inner,
        activation=activation,
        positions=positions,
    )
    return Backbone(IdEmbedding(catalog, dim), encoder)


def build(
    catalog: Catalog,
    *,
    dim: int = 64,
    layers: int = 2,
    heads: int = 2,
    length: int = 50,
    dropout: float = 0.5,
    attention_dropout: float = 0.0,
    block: str = "bert",
    inner: int | None = None,
    positions: str = "from_start",
    loss: str = "softmax",
    negatives: int = 1,
    shared_negatives: bool = False,
    sampler: str = "uniform",
    calibration: float = 0.75,
    logits: str = "dot",
    temperature: float = 1.0,
    seen_items: bool = False,
    averaging: float = 0.0,
    precision: str = "auto",
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    windows: str = "whole",
    step: int | None = None,
    grouping: str = "length",
    batch_size: int = 256,
    epochs: int = 100,
    patience: int = 10,
) -> list[Stage]:
    """SASRec from numbers; see `Transformer`, `NextItem`, `windows` and `Stage` for each."""
    backbone = make_backbone(
        catalog,
        dim=dim,
        layers=layers,
        heads=heads,
        length=length,
        dropout=dropout,
        attention_dropout=attention_dropout,
        block=block,
        inner=inner,
        positions=positions,
    )
    next_item = NextItem(
        loss,
        negatives=negatives,
        shared=shared_negatives,
        sampler=sampler,
        calibration=calibration,
        logits=logits,
        temperature=temperature,
        precision=precision,
        counts=torch.from_numpy(catalog.train_counts),
    )
    method = NextItemPrediction(backbone, next_item, seen_items=seen_items, make_optimizer=adam(lr, weight_decay))
    cut = get_windows(windows, step)
    return [Stage(method, epochs, cut, batch_size, grouping, patience=patience, averaging=averaging)]
