"""Caser: convolutions over the latest items, joined with what the user likes in general.

Paper: Tang and Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding, WSDM 2018.

Departures: every position of a history predicts its next `targets` items, in batches of histories; the authors' code
takes full windows of L items and T targets alone, and one padded on the left of a shorter history, which on short
histories are far fewer pairs (`full_windows=True`, but for windows of padding alone, which are left out). Negatives are
drawn anew each time (the authors' old code keeps them a while), one a target instead of the mean over three a target,
outside the row instead of outside all that the user did in training; more than one are summed. Places before the start
of a history are zero. A user who was not trained is the mean of the users. The L2 term is Adam's `weight_decay`.
Vectors are 64 wide, as in the tables of S3-Rec (authors: 50), batches hold 256 histories and training ends by
validation within 100 epochs (authors: 512 windows, 50 epochs). `loss` may be another one.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.windows import sliding
from recloom.encoders import Convolutional
from recloom.errors import InputError
from recloom.items import IdEmbedding, ItemEmbedder
from recloom.methods.about import About
from recloom.methods.composition import MakeBackbone, composed
from recloom.nn.users import UserEmbedding
from recloom.objectives import NextItem
from recloom.training import (
    Backbone,
    MakeOptimizer,
    Method,
    Schedule,
    Stage,
    check_full_windows,
    next_items_loss,
    rows_of_full_windows,
)

ABOUT = About(
    "Tang and Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding, WSDM", 2018
)


def make_backbone(
    catalog: Catalog,
    *,
    dim: int = 64,
    recent: int = 5,
    horizontal: int = 16,
    vertical: int = 4,
    length: int = 50,
    dropout: float = 0.5,
    items: ItemEmbedder | None = None,
) -> Backbone:
    """Item vectors under convolutions, see `Convolutional`; `items` to use, such as pre-trained ones, or new ones."""
    encoder = Convolutional(
        dim, recent=recent, horizontal=horizontal, vertical=vertical, dropout=dropout, length=length
    )
    return Backbone(items or IdEmbedding(catalog, dim, 1 / dim), encoder)


class Caser(Method):
    """`score = w_i [z; p_u] + b_i` with the state z of the latest items and an output table of its own (equation 11).

    Args:
        backbone: reads the causal context.
        catalog: items and number of users.
        next_item: the loss.
        targets: how many next items each state predicts (T).
        full_windows: 0 for targets after every item; else as by the authors' code, after every window of that many
            items that `targets` items follow, and once in a shorter history.
    """

    bias_columns = 1

    def __init__(
        self,
        backbone: Backbone,
        catalog: Catalog,
        next_item: NextItem,
        *,
        targets: int = 3,
        full_windows: int = 0,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(backbone, make_optimizer=make_optimizer)
        backbone.encoder.require("causal")
        if not 1 <= targets <= backbone.encoder.length:
            raise InputError(f"targets={targets} must lie in 1..{backbone.encoder.length}, the length of a row")
        dim = backbone.encoder.dim
        self.next_item, self.targets = next_item, targets
        self.full_windows = full_windows
        self.users = UserEmbedding(catalog.n_users, dim, 1 / dim)
        self.output = nn.Parameter(torch.randn(catalog.n_rows, 2 * dim) / (2 * dim))
        self.bias = nn.Parameter(torch.zeros(catalog.n_rows))

    def on_fit_start(self) -> None:
        check_full_windows(self, self.full_windows, self.targets)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        states = self.backbone(batch.items)
        asked = self.join(states, self.users(batch.users)[:, None].expand_as(states))
        table, generator = self.catalogue(), self.generator
        loss = next_items_loss(asked, table, self.next_item, batch, generator, self.targets, self.full_windows)
        return self.total(next_items=loss)

    def join(self, states: Tensor, users: Tensor) -> Tensor:
        """`(..., dim)` twice -> `(..., 2 dim + 1)`; the last value meets the bias."""
        return torch.cat([states, users, torch.ones_like(states[..., :1])], -1)

    def queries(self, batch: SequenceBatch) -> Tensor:
        return self.join(self.backbone.last(batch.items), self.users(batch.users))[:, None]

    def catalogue(self) -> Tensor:
        return torch.cat([self.output, self.bias[:, None]], 1)


@composed(hidden=("items",), backbone=make_backbone, training=partial(Schedule, weight_decay=1e-6))
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: Schedule,
    *,
    targets: int = 3,
    full_windows: bool = False,
    loss: str = "bce",
    negatives: int = 1,
    precision: str = "auto",
) -> list[Stage]:
    """Caser from numbers; see `Caser` and `NextItem`. `recent` and `targets` are L and T of the paper.

    Args:
        full_windows: whether targets are asked for as by the authors' code, after every full window of `recent` items
            that `targets` items follow, and once in a shorter history; else after every item.
    """
    recent, length = backbone.keywords["recent"], backbone.keywords["length"]
    method = Caser(
        backbone(catalog),
        catalog,
        NextItem(loss, negatives=negatives, precision=precision),
        targets=targets,
        full_windows=recent if full_windows else 0,
        make_optimizer=training.optimizer(),
    )
    return [training.stage(method, rows_of_full_windows(recent, targets, length) if full_windows else sliding)]
