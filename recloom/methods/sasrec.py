"""SASRec: a causal transformer whose state at each position predicts the next item."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.windows import get_windows
from recloom.encoders import Transformer
from recloom.items import IdEmbedding
from recloom.methods.about import About
from recloom.objectives import NextItem
from recloom.training import Backbone, MakeOptimizer, Method, Stage, adam

ABOUT = About("Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM", 2018)


class SASRec(Method):
    """Next-item prediction at every position of a causal backbone; also what pre-trained backbones end in.

    Args:
        backbone: any backbone that reads the causal context.
        next_item: the loss of the states against their targets.
        make_optimizer: Adam at 1e-3 if None.

    Paper: Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018.
    Departures: the loss is the softmax over all items at every position, which the later literature found
        35 to 70 % better than the paper's `loss="bce"` with one negative. The block is by default the
        post-norm GELU block of width 4d that S3-Rec and its successors call SASRec; `block="original"`
        is the paper's, with an output projection after the heads that its code lacks. Attention weights have
        no dropout unless `attention_dropout` is set; the published runs of that family use 0.5.
    """

    def __init__(
        self, backbone: Backbone, next_item: NextItem | None = None, *, make_optimizer: MakeOptimizer | None = None
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        self.next_item = next_item or NextItem()

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        states = self.backbone(batch.items)
        return self.total(next_item=self.next_item(states, self.backbone.items.table(), batch, self.generator))

    def catalogue(self) -> Tensor:
        table = self.backbone.items.table()
        return F.normalize(table, dim=-1) if self.next_item.logits == "cosine" else table


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
    encoder = Transformer(
        dim,
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
    method = SASRec(Backbone(IdEmbedding(catalog, dim), encoder), next_item, make_optimizer=adam(lr, weight_decay))
    return [Stage(method, epochs, get_windows(windows, step), batch_size, grouping, patience=patience)]
