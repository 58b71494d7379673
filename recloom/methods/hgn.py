"""HGN: gates choose what of each latest item, and which of the latest items, matter to a user.

Paper: Ma et al., Hierarchical Gating Networks for Sequential Recommendation, KDD 2019.

Departures: every position of a history predicts its next `targets` items, in batches of histories; the authors' code
takes full windows of L items and T targets alone, and one padded on the left of a shorter history, which on short
histories are far fewer pairs (`full_windows=True`, but for windows of padding alone, which are left out). Places before
the start of a history have no share in the sums (the authors' code reads padding as an item of its own, gated like
others). The gates of instances are learned (in the authors' code they keep their first values, as no optimiser knows
them). Negatives are drawn anew each time, one a target as by the authors, outside the row instead of outside all that
the user did in training. The loss is a mean and the L2 term Adam's `weight_decay`, 1e-6: the code's 1e-3 stands beside
a sum over the batch; beside a mean it would be thousands of times as strong. Vectors are 64 wide, as in the tables of
S3-Rec (authors: 50), and batches hold 256 histories (authors: 4,096 windows). A user who was not trained is the mean of
the users.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD, Catalog
from recloom.data.windows import sliding
from recloom.errors import InputError
from recloom.methods.about import About
from recloom.methods.composition import composed
from recloom.nn.last_of import last_of
from recloom.nn.users import UserEmbedding
from recloom.objectives import NextItem
from recloom.training import (
    MakeOptimizer,
    Method,
    Schedule,
    Stage,
    check_full_windows,
    next_items_loss,
    rows_of_full_windows,
)

ABOUT = About("Ma et al., Hierarchical Gating Networks for Sequential Recommendation, KDD", 2019)


class HGN(Method):
    """`score = p w_i + z w_i + sum_l s_l w_i + b_i` (equation 11): the user, the gated latest items, and all of them.

        F = S * sigma(W1 S + W2 p),  g = sigma(F w3 + p W4),  z = sum_l g_l F_l / sum_l g_l   (equations 3 to 7)

    Args:
        catalog: items and number of users.
        dim: width of all vectors.
        next_item: the loss.
        recent: how many latest items are read (L).
        targets: how many next items each position predicts (T).
        full_windows: whether targets are asked for as by the authors' code, after every full window of `recent` items
            that `targets` items follow, and once in a shorter history; else after every item.
        length: items of a history in a training row.
    """

    bias_columns = 1

    def __init__(
        self,
        catalog: Catalog,
        dim: int,
        next_item: NextItem,
        *,
        recent: int = 5,
        targets: int = 3,
        full_windows: bool = False,
        length: int = 50,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(None, length=length, make_optimizer=make_optimizer)
        for name, value in (("recent", recent), ("targets", targets)):
            if not 1 <= value <= length:
                raise InputError(f"{name}={value} must lie in 1..{length}, the length of a row")
        self.next_item, self.recent, self.targets = next_item, recent, targets
        self.full_windows = recent if full_windows else 0
        self.users = UserEmbedding(catalog.n_users, dim, 1 / dim)
        self.items = nn.Parameter(torch.randn(catalog.n_rows, dim) / dim)
        self.output = nn.Parameter(torch.randn(catalog.n_rows, dim) / dim)
        self.bias = nn.Parameter(torch.zeros(catalog.n_rows))
        self.feature_item, self.feature_user = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.instance_item, self.instance_user = nn.Linear(dim, 1, bias=False), nn.Linear(dim, recent, bias=False)

    def on_fit_start(self) -> None:
        check_full_windows(self, self.full_windows, self.targets)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        asked = self.ask(batch.items, self.users(batch.users))
        table, generator = self.catalogue(), self.generator
        loss = next_items_loss(asked, table, self.next_item, batch, generator, self.targets, self.full_windows)
        return self.total(next_items=loss)

    def ask(self, items: Tensor, users: Tensor) -> Tensor:
        """`(batch, length)` and `(batch, dim)` -> `(batch, length, dim + 1)`, what each position asks for."""
        valid = (items != PAD)[..., None]
        vectors = F.embedding(items, self.items) * valid
        features = vectors * (self.feature_item(vectors) + self.feature_user(users)[:, None]).sigmoid()
        gates = self.latest(self.instance_item(features)) + self.instance_user(users)[:, None, None]
        gates = gates.sigmoid() * self.latest(valid.to(gates.dtype))
        union = (self.latest(features) * gates).sum(-1) / gates.sum(-1).clamp(min=1e-9)
        asked = users[:, None] + union + self.latest(vectors).sum(-1)
        return torch.cat([asked, torch.ones_like(asked[..., :1])], -1)

    def latest(self, values: Tensor) -> Tensor:
        """`(batch, length, d)` -> `(batch, length, d, recent)`: those of a position and of the places before it."""
        return F.pad(values, (0, 0, self.recent - 1, 0)).unfold(1, self.recent, 1)

    def queries(self, batch: SequenceBatch) -> Tensor:
        return last_of(self.ask(batch.items, self.users(batch.users)), batch.valid)[:, None]

    def catalogue(self) -> Tensor:
        return torch.cat([self.output, self.bias[:, None]], 1)


@composed(training=partial(Schedule, weight_decay=1e-6, epochs=200))
def build(
    catalog: Catalog,
    training: Schedule,
    *,
    dim: int = 64,
    recent: int = 5,
    targets: int = 3,
    full_windows: bool = False,
    length: int = 50,
    loss: str = "bpr",
    negatives: int = 1,
    precision: str = "auto",
) -> list[Stage]:
    """HGN from numbers; see `HGN` and `NextItem`. `recent` and `targets` are L and T of the paper."""
    next_item = NextItem(loss, negatives=negatives, precision=precision)
    method = HGN(
        catalog,
        dim,
        next_item,
        recent=recent,
        targets=targets,
        full_windows=full_windows,
        length=length,
        make_optimizer=training.optimizer(),
    )
    return [training.stage(method, rows_of_full_windows(recent, targets, length) if full_windows else sliding)]
