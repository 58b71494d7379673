"""GRU4Rec_F: two recurrent networks in parallel, one over items and one over their attributes.

Paper: Hidasi et al., Parallel Recurrent Neural Network Architectures for Feature-rich Session-based Recommendations,
RecSys 2016.

Departures: the form is RecBole's, as S3-Rec's authors have not published theirs: two units of 128 without biases, the
states side by side, one linear map to the width of the item vectors, and a score by their product. Dropout is on the
item vectors alone. The paper's features are images and text, and its networks are trained in turns; here attributes
are pooled and both units are trained together. `pooling="mean"`: the sum of RecBole grows with the number of
attributes, which is 4 to 6 on Amazon's data and 31.5 on LastFM; `pooling="sum"` is there. Losses, rows and optimiser
depart from the paper as in `gru4rec`.
"""

from __future__ import annotations

from recloom.data.catalog import Catalog
from recloom.encoders import Parallel, Recurrent
from recloom.items import ItemsWithAttributes
from recloom.methods.about import About
from recloom.methods.composition import SHARED_NEGATIVES, MakeBackbone, composed
from recloom.objectives import NextItem
from recloom.training import Backbone, NextItemPrediction, Stage, WindowsSchedule

ABOUT = About(
    "Hidasi et al., Parallel Recurrent Neural Network Architectures for Feature-rich Session-based Recommendations, "
    "RecSys",
    2016,
    "needed",
)


def make_backbone(
    catalog: Catalog,
    *,
    dim: int = 64,
    hidden: int = 128,
    layers: int = 1,
    length: int = 50,
    dropout: float = 0.3,
    pooling: str = "mean",
    attribute_dropout: float = 0.0,
) -> Backbone:
    """Item and attribute vectors side by side, each under a recurrent unit of its own.

    See `Recurrent` and `ItemsWithAttributes`.
    """
    items = ItemsWithAttributes(catalog, dim, join="side-by-side", pooling=pooling, attribute_dropout=attribute_dropout)
    first, second = (
        Recurrent(dim, hidden=hidden, layers=layers, length=length, dropout=rate, project=False)
        for rate in (dropout, 0.0)
    )
    xavier = (2 / (2 * hidden + dim)) ** 0.5
    return Backbone(items, Parallel(first, second, dim=dim, std=xavier))


@composed(hidden=SHARED_NEGATIVES, backbone=make_backbone, next_item=NextItem, training=WindowsSchedule)
def build(catalog: Catalog, backbone: MakeBackbone, next_item: NextItem, training: WindowsSchedule) -> list[Stage]:
    """GRU4Rec_F from numbers."""
    method = NextItemPrediction(backbone(catalog), next_item, make_optimizer=training.optimizer())
    return [training.stage(method)]
