"""SASRec_F: SASRec over items joined with their attributes.

Paper: the extension of SASRec in Zhou et al., S3-Rec: Self-Supervised Learning for Sequential Recommendation with
Mutual Information Maximization, CIKM 2020.

Departures: S3-Rec's authors have not published its code; the form is RecBole's, a linear map of an item's vector beside
its pooled attributes, `2d -> d`, and scores against the item vectors alone. `scored_by="items"` compares states with
the joined vectors instead, which is another model: items without an action in training are then found by their
attributes. `pooling="mean"`, not RecBole's sum (`pooling="sum"`), which grows with the number of attributes;
`join="mean"` adds both vectors without a map. The loss is the softmax at every position. `attribute_dropout` and
`id_dropout` are ours. Attention weights have no dropout by default, as in `sasrec`; the published runs have 0.5.
Negatives of `loss="bce"` lie outside the row (code: outside the whole history).
"""

from __future__ import annotations

from recloom.data.catalog import Catalog
from recloom.encoders import Transformer
from recloom.items import ItemsWithAttributes
from recloom.methods.about import About
from recloom.methods.composition import SHARED_NEGATIVES, MakeBackbone, composed
from recloom.objectives import NextItem
from recloom.training import Backbone, NextItemPrediction, Stage, WindowsSchedule

ABOUT = About("Zhou et al., S3-Rec (its baseline SASRec_F), CIKM", 2020, "needed")


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
    join: str = "concat",
    pooling: str = "mean",
    scored_by: str = "ids",
    attribute_dropout: float = 0.0,
    id_dropout: float = 0.0,
    cold: str = "attributes",
) -> Backbone:
    """Items joined with their attributes under a transformer; see `Transformer` and `ItemsWithAttributes`."""
    items = ItemsWithAttributes(
        catalog,
        dim,
        join=join,
        pooling=pooling,
        scored_by=scored_by,
        attribute_dropout=attribute_dropout,
        id_dropout=id_dropout,
        cold=cold,
    )
    encoder = Transformer(
        dim,
        layers=layers,
        heads=heads,
        length=length,
        dropout=dropout,
        attention_dropout=attention_dropout,
        activation=activation,
        positions=positions,
    )
    return Backbone(items, encoder)


@composed(
    hidden=("activation", *SHARED_NEGATIVES), backbone=make_backbone, next_item=NextItem, training=WindowsSchedule
)
def build(catalog: Catalog, backbone: MakeBackbone, next_item: NextItem, training: WindowsSchedule) -> list[Stage]:
    """SASRec_F from numbers."""
    method = NextItemPrediction(backbone(catalog), next_item, make_optimizer=training.optimizer())
    return [training.stage(method)]
