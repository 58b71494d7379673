"""FDSA: two streams of self-attention, one over items and one over mixtures of their attributes.

Paper: Zhang et al., Feature-level Deeper Self-Attention Network for Sequential Recommendation, IJCAI 2019.

Departures: the paper's attention weighs a few fields, such as category and brand; data with one list of tags per item,
such as S3-Rec's, would leave it a single field of weight 1, so it weighs the single tags here. `pooling="mean"` is the
single field. The state after both streams is `Dropout(LN(W [item; attributes] + b))` and the blocks are BERT's, as in
RecBole, but each stream has its own positions and norm, which RecBole shares. The loss is the softmax at every
position; `loss="bce"` with one negative is the paper's, outside the row (code: outside the whole history). Attention
weights have no dropout by default, as in `sasrec`; the published runs have 0.5.
"""

from __future__ import annotations

from recloom.data.catalog import Catalog
from recloom.encoders import Parallel, Transformer
from recloom.items import ItemsWithAttributes
from recloom.methods.about import About
from recloom.methods.composition import SHARED_NEGATIVES, MakeBackbone, composed
from recloom.objectives import NextItem
from recloom.training import Backbone, NextItemPrediction, Stage, WindowsSchedule

ABOUT = About(
    "Zhang et al., Feature-level Deeper Self-Attention Network for Sequential Recommendation, IJCAI",
    2019,
    "needed",
)


def make_backbone(
    catalog: Catalog,
    *,
    dim: int = 64,
    layers: int = 2,
    heads: int = 2,
    length: int = 50,
    dropout: float = 0.5,
    attention_dropout: float | None = 0.0,
    activation: str | None = None,
    positions: str = "from_start",
    pooling: str = "attention",
    attribute_dropout: float = 0.0,
) -> Backbone:
    """Item and attribute vectors side by side, each under a transformer of its own.

    See `Transformer` and `ItemsWithAttributes`.
    """
    items = ItemsWithAttributes(catalog, dim, join="side-by-side", pooling=pooling, attribute_dropout=attribute_dropout)
    first, second = (
        Transformer(
            dim,
            layers=layers,
            heads=heads,
            length=length,
            dropout=dropout,
            attention_dropout=attention_dropout,
            activation=activation,
            positions=positions,
        )
        for _ in range(2)
    )
    return Backbone(items, Parallel(first, second, norm=True, dropout=dropout))


@composed(
    hidden=("activation", *SHARED_NEGATIVES), backbone=make_backbone, next_item=NextItem, training=WindowsSchedule
)
def build(catalog: Catalog, backbone: MakeBackbone, next_item: NextItem, training: WindowsSchedule) -> list[Stage]:
    """FDSA from numbers."""
    method = NextItemPrediction(backbone(catalog), next_item, make_optimizer=training.optimizer())
    return [training.stage(method)]
