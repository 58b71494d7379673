"""LMA4Rec: CoSeRec whose dropout rates are learnt with the rest.

Paper: Hao et al., Learnable Model Augmentation Self-Supervised Learning for Sequential Recommendation, 2022; no code is
public. Learnable Bernoulli dropout: Boluki et al., AISTATS 2020.

Departures, where the paper leaves choices open: one rate for each sub-layer of the Transformer, in place of that
sub-layer's dropout, starting at `dropout`, while the input and the attention weights keep theirs; all passes draw from
it, those of the next-item loss too; one optimiser for everything. Masks are relaxed (`sigma((logit + logistic noise) /
relaxation)`), so that gradients reach the rates in the one backward pass, where the dropout's authors take two more
passes for an unbiased estimate (ARM). Values that stay are not scaled up while training; at evaluation each is
multiplied by the chance that it stays, the mean of a mask of 0 and 1. Views, contrast, batches and losses are
CoSeRec's, with its defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from recloom.data.catalog import Catalog
from recloom.encoders.transformer import Transformer
from recloom.errors import InputError
from recloom.methods import coserec, sasrec
from recloom.methods.about import About
from recloom.methods.composition import MakeBackbone, composed
from recloom.nn.transformer_blocks import BertBlock
from recloom.training import Backbone, Stage, WindowsSchedule

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


def with_learned_rates(backbone: Backbone, relaxation: float) -> Backbone:
    """A backbone over a Transformer whose blocks learn their rates; it keeps its weights."""
    encoder = backbone.encoder
    assert isinstance(encoder, Transformer)
    if not 0 < encoder.dropout < 1:
        raise InputError(f"dropout={encoder.dropout} must lie between 0 and 1, neither of them, to be learnt")
    if not relaxation > 0:
        raise InputError(f"relaxation={relaxation} must be above 0")
    for place, block in enumerate(encoder.blocks):
        attention = block.attention
        learnt = LearnedDropoutBlock(encoder.dim, attention.heads, encoder.dropout, attention.dropout, relaxation)  # type: ignore[union-attr,arg-type]
        learnt.load_state_dict(block.state_dict(), strict=False)
        encoder.blocks[place] = learnt
    return backbone


@composed(
    hidden=("block", "inner", "activation"),
    backbone=partial(sasrec.make_backbone, attention_dropout=0.5, positions="from_end"),
    method=coserec.make_method,
    training=partial(WindowsSchedule, epochs=300, patience=40),
)
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    method: Callable[..., coserec.CoSeRec],
    training: WindowsSchedule,
    *,
    relaxation: float = 0.5,
) -> list[Stage]:
    """LMA4Rec from numbers.

    Args:
        dropout: where the learnt rates start.
        relaxation: temperature of the relaxed masks; towards 0 they are 0 or 1.
    """
    learnt = with_learned_rates(backbone(catalog), relaxation)
    return [training.stage(method(catalog, learnt, training.optimizer()))]
