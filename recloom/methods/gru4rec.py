"""GRU4Rec: a recurrent network whose state at each position predicts the next item.

Paper: Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016.

Departures: the network is RecBole's form of it, which the tables of later papers report: item vectors of width 64 with
dropout 0.3, one unit of 128 without biases, and a linear map back to 64 whose product with the item vectors is the
score (the paper: one-hot input, 100 units, an output matrix of its own). Rows are whole histories in batches of like
length, not session-parallel batches that carry a state on; the loss is the softmax over all items at every position,
not TOP1 or BPR against the other sessions' items (`loss="bpr"` draws its negatives uniformly); Adam, not Adagrad. The
supervision decides, not the network: for Beauty on one split the published HR@10 of this architecture is 0.0283 and
0.0284 in two papers' tables, 0.0344 with the softmax at the last position only, and 0.0692 with it at every position.
Item vectors start with Xavier's normal distribution and the unit with his uniform one, as in RecBole.
"""

from __future__ import annotations

from recloom.data.catalog import Catalog
from recloom.encoders import Recurrent
from recloom.items import IdEmbedding
from recloom.methods.about import About
from recloom.methods.composition import SHARED_NEGATIVES, MakeBackbone, composed
from recloom.objectives import NextItem
from recloom.training import Backbone, NextItemPrediction, Stage, WindowsSchedule

ABOUT = About("Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR", 2016)


def make_backbone(
    catalog: Catalog,
    *,
    dim: int = 64,
    hidden: int = 128,
    layers: int = 1,
    length: int = 50,
    dropout: float = 0.3,
) -> Backbone:
    """Item vectors under a recurrent unit; see `Recurrent`."""
    xavier = (2 / (catalog.n_rows + dim)) ** 0.5
    encoder = Recurrent(dim, hidden=hidden, layers=layers, length=length, dropout=dropout)
    return Backbone(IdEmbedding(catalog, dim, xavier), encoder)


@composed(hidden=SHARED_NEGATIVES, backbone=make_backbone, next_item=NextItem, training=WindowsSchedule)
def build(catalog: Catalog, backbone: MakeBackbone, next_item: NextItem, training: WindowsSchedule) -> list[Stage]:
    """GRU4Rec from numbers."""
    method = NextItemPrediction(backbone(catalog), next_item, make_optimizer=training.optimizer())
    return [training.stage(method)]
