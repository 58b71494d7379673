"""LMA4Rec: CoSeRec whose dropout rates are learnt with the rest.

Paper: Hao et al., Learnable Model Augmentation Self-Supervised Learning for Sequential Recommendation, 2022; no code is
public. Learnable Bernoulli dropout: Boluki et al., AISTATS 2020.

Departures, where the paper leaves choices open: one rate for each sub-layer of the Transformer, in place of its
dropout, starting at `dropout`; all passes draw from it, those of the next-item loss too; one optimiser for everything.
Masks are relaxed (`sigma((logit + logistic noise) / relaxation)`), so that gradients reach the rates in the one
backward pass, where the dropout's authors take two more passes for an unbiased estimate (ARM). Values that stay are not
scaled up while training; at evaluation each mask is its mean. Views, contrast and losses are CoSeRec's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recloom.data.catalog import Catalog
from recloom.data.windows import get_windows
from recloom.encoders.transformer import Transformer
from recloom.errors import InputError
from recloom.methods import sasrec
from recloom.methods.about import About
from recloom.methods.coserec import OPERATORS, CoSeRec
from recloom.nn.transformer_blocks import BertBlock
from recloom.objectives import NextItem
from recloom.training import Backbone, Stage, adam

ABOUT = About("Hao et al., Learnable Model Augmentation Self-Supervised Learning for Sequential Recommendation", 2022)


class LearnedDropout(nn.Module):
    """Zeroes values at a rate that is learnt.

    Args:
        rate: at the start.
        relaxation: temperature of the relaxed masks; towards 0 they are 0 or 1.
    """

    def __init__(self, rate: float, relaxation: float) -> None:
        super().__init__()
        self.logit, self.relaxation = nn.Parameter(torch.tensor(math.log((1 - rate) / rate))), relaxation

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return values * self.logit.sigmoid()
        noise = torch.rand_like(values).clamp_(1e-6, 1 - 1e-6).logit()
        return values * ((self.logit + noise) / self.relaxation).sigmoid()


class LearnedDropoutBlock(BertBlock):
    """The block of the family with a learnt rate behind each of its sub-layers."""

    def __init__(self, dim: int, heads: int, rate: float, attention_dropout: float, relaxation: float) -> None:
        super().__init__(dim, heads, rate, attention_dropout, 4 * dim)
        self.drop_attention, self.drop_forward = (LearnedDropout(rate, relaxation) for _ in range(2))

    def _forward(self, states: Tensor, mixed: Tensor) -> Tensor:
        states = self.norm_attention(states + self.drop_attention(mixed))
        return self.norm_forward(states + self.drop_forward(self.narrow(self.activation(self.widen(states)))))


def make_backbone(catalog: Catalog, *, relaxation: float = 0.5, **numbers: float | int | str) -> Backbone:
    """SASRec's backbone with learnt rates; `numbers` as of `sasrec.make_backbone`."""
    rate = float(numbers["dropout"])
    if not 0 < rate < 1 or relaxation <= 0:
        raise InputError(f"dropout={rate} must lie between 0 and 1, where it can be learnt; relaxation above 0")
    backbone = sasrec.make_backbone(catalog, **numbers)  # type: ignore[arg-type]
    encoder = backbone.encoder
    assert isinstance(encoder, Transformer)
    for place, block in enumerate(encoder.blocks):
        attention = block.attention
        learnt = LearnedDropoutBlock(encoder.dim, attention.heads, rate, attention.dropout, relaxation)  # type: ignore[union-attr,arg-type]
        learnt.load_state_dict(block.state_dict(), strict=False)  # the same initial weights
        encoder.blocks[place] = learnt
    return backbone


def build(
    catalog: Catalog,
    *,
    dim: int = 64,
    layers: int = 2,
    heads: int = 2,
    length: int = 50,
    dropout: float = 0.5,
    relaxation: float = 0.5,
    attention_dropout: float = 0.5,
    positions: str = "from_end",
    substitute_ratio: float = 0.1,
    insert_ratio: float = 0.4,
    mask_ratio: float = 0.7,
    crop_ratio: float = 0.2,
    reorder_ratio: float = 0.2,
    threshold: int = 4,
    warmup: int | None = 160,
    contrast_weight: float = 0.1,
    temperature: float = 1.0,
    contrast_on: str = "flat",
    loss: str = "softmax",
    negatives: int = 1,
    precision: str = "auto",
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    windows: str = "whole",
    grouping: str = "length",
    batch_size: int = 256,
    epochs: int = 300,
    patience: int = 40,
) -> list[Stage]:
    """LMA4Rec from numbers; `dropout` is where the rates start."""
    backbone = make_backbone(
        catalog,
        dim=dim,
        layers=layers,
        heads=heads,
        length=length,
        dropout=dropout,
        relaxation=relaxation,
        attention_dropout=attention_dropout,
        positions=positions,
    )
    ratios = dict(zip(OPERATORS, (substitute_ratio, insert_ratio, mask_ratio, crop_ratio, reorder_ratio), strict=True))
    method = CoSeRec(
        backbone,
        NextItem(loss, negatives=negatives, precision=precision),
        catalog,
        ratios,
        threshold=threshold,
        warmup=warmup,
        weight=contrast_weight,
        temperature=temperature,
        contrast_on=contrast_on,
        make_optimizer=adam(lr, weight_decay),
    )
    return [Stage(method, epochs, get_windows(windows), batch_size, grouping, patience=patience)]
