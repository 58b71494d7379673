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
from recloom.methods.composition import MakeBackbone, composed
from recloom.objectives import NextItem
from recloom.training import Backbone, NextItemPrediction, Stage, WindowsSchedule

ABOUT = About("Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM", 2018)


def make_backbone(
    catalog: Catalog,
    *,
    dim: int = 64,
    layers: int = 2,
    heads: int = 2,
    length: int = 50,
    dropout: float = 0.5,
    attention_dropout: float | None = 0.0,
    block: str = "bert",
    inner: int | None = None,
    activation: str | None = None,
    positions: str = "from_start",
) -> Backbone:
    """Item vectors under a `Transformer`."""
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


@composed(hidden=("activation",), backbone=make_backbone, training=WindowsSchedule)
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: WindowsSchedule,
    *,
    loss: str = "softmax",
    negatives: int = 1,
    shared_negatives: bool = False,
    sampler: str = "uniform",
    mask_same_target: bool = True,
    calibration: float = 0.75,
    logits: str = "dot",
    temperature: float = 1.0,
    learned_temperature: bool = False,
    label_smoothing: float = 0.0,
    precision: str = "auto",
    step: int | None = None,
) -> list[Stage]:
    """SASRec from numbers; see `NextItem` and `NextItemPrediction`.

    Args:
        step: with windows="sliding", how many items apart the rows of a long history begin; half of `length` if None.
    """
    next_item = NextItem(
        loss,
        negatives=negatives,
        shared_negatives=shared_negatives,
        sampler=sampler,
        mask_same_target=mask_same_target,
        calibration=calibration,
        logits=logits,
        temperature=temperature,
        label_smoothing=label_smoothing,
        precision=precision,
        counts=torch.from_numpy(catalog.train_counts),
    )
    method = NextItemPrediction(
        backbone(catalog), next_item, learned_temperature=learned_temperature, make_optimizer=training.optimizer()
    )
    cut = get_windows(training.windows, step)
    return [training.stage(method, cut)]
