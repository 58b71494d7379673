"""NCF: a product of a user's and an item's vectors, and a network over another pair of them, read together (NeuMF).

Paper: He et al., Neural Collaborative Filtering, WWW 2017.

Departures: the layers of the network are `hidden`, half of it, and so on (the paper's tower shape), with RecBole's
widths 128 and 64 as the default. Trained from scratch by Adam, as the authors' code does by default; the paper's best
numbers start from two branches trained apart, which is not offered. Every action of a batch of histories is taken once
an epoch with `negatives=4` uniform items outside its row, drawn anew each time; its dropout of a user's input is one
draw for all of them. `branches` leaves one branch out ("gmf", "mlp"). Histories are not read: a user who was not
trained is the mean of the users. A ranker: every pair is scored by itself, the first layer of the network once a user
and once an item; validation after each epoch is under sample-99 where there are more than 1,000 items.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.negatives import ActionsWithNegatives
from recloom.data.windows import sliding
from recloom.errors import InputError, refuse_unread
from recloom.methods.about import About
from recloom.methods.composition import composed
from recloom.nn.dropout import dropout as drop
from recloom.nn.pairs import score_pairs
from recloom.nn.users import UserEmbedding
from recloom.training import MakeOptimizer, Method, Schedule, Stage, pair_protocol

ABOUT = About("He et al., Neural Collaborative Filtering, WWW", 2017, sequential=False)

PAIRS_AT_ONCE = 1 << 15
"""Pairs of a user and an item scored at one time."""

BRANCHES = ("both", "gmf", "mlp")


class NCF(Method):
    """`w [p * q; tower(p', q')]` with p, q of the product and p', q' of the network (equations 8 to 12).

    Args:
        catalog: items and number of users.
        dim: width of all vectors.
        hidden: width of the network's first layer; each further one is half as wide.
        layers: of the network.
        dropout: rate before each layer.
        negatives: items drawn for each action.
        branches: "both", "gmf" (the product) or "mlp" (the network).
        length: items of a history in a training row.
    """

    ranks_by = "scores"
    reads_histories = False

    def __init__(
        self,
        catalog: Catalog,
        dim: int,
        *,
        hidden: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
        negatives: int = 4,
        branches: str = "both",
        length: int = 50,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(None, length=length, make_optimizer=make_optimizer)
        if branches not in BRANCHES:
            raise InputError(f"branches={branches!r} is not known; choose one of {', '.join(BRANCHES)}")
        widths = [hidden >> layer for layer in range(layers)]
        if not widths or widths[-1] < 1:
            raise InputError(
                f"hidden={hidden}, layers={layers}: each layer is half as wide as the one before, and no width may be "
                "below 1; choose fewer layers or a wider first one"
            )
        self.actions = ActionsWithNegatives(catalog.n_items, negatives, length)
        self.branches, self.dropout = branches, dropout
        self.users, self.deep_users = (UserEmbedding(catalog.n_users, dim, 0.01) for _ in range(2))
        self.items, self.deep_items = (nn.Parameter(torch.randn(catalog.n_rows, dim) * 0.01) for _ in range(2))
        self.from_user, self.from_item = nn.Linear(dim, widths[0]), nn.Linear(dim, widths[0], bias=False)
        self.tower = nn.ModuleList(nn.Linear(one, two) for one, two in pairwise(widths))
        self.read_product, self.read_tower = nn.Linear(dim, 1), nn.Linear(widths[-1], 1, bias=False)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        rows, items, drawn = self.actions(batch, self.generator)
        users, candidates = self.of_users(batch.users)[rows][:, None], torch.cat([items[:, None], drawn], 1)
        scores = self.pairs(users, self.of_items(candidates))
        return self.total(actions=(F.softplus(-scores[:, 0]) + F.softplus(scores[:, 1:]).sum(1)).mean())

    def of_users(self, users: Tensor) -> Tensor:
        """`(batch,)` -> `(batch, dim + hidden)`: what goes into the product and into the network's first layer."""
        deep = drop(self.deep_users(users), self.dropout, self.training)
        return torch.cat([self.users(users) * self.read_product.weight[0], self.from_user(deep)], -1)

    def of_items(self, items: Tensor) -> Tensor:
        """`(...)` -> `(..., dim + hidden)`."""
        deep = drop(F.embedding(items, self.deep_items), self.dropout, self.training)
        return torch.cat([F.embedding(items, self.items), self.from_item(deep)], -1)

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        """`(rows, 1, dim + hidden)` and `(rows or 1, columns, dim + hidden)` -> `(rows, columns)` scores."""
        dim = self.items.shape[1]
        scores: Tensor = self.read_product.bias
        if self.branches != "mlp":
            scores = scores + (users[..., :dim] @ items[..., :dim].transpose(1, 2))[:, 0]
        if self.branches != "gmf":
            states = F.relu(users[..., dim:] + items[..., dim:])
            for layer in self.tower:
                states = F.relu(layer(drop(states, self.dropout, self.training)))
            scores = scores + self.read_tower(states)[..., 0]
        return scores

    def score(self, batch: SequenceBatch, items: Tensor) -> Tensor:
        candidates = self.of_items(items if items.dim() == 2 else items[None])
        return score_pairs(self.pairs, self.of_users(batch.users), candidates, PAIRS_AT_ONCE)


@composed(hidden=("seen_items",), training=Schedule)
def build(
    catalog: Catalog,
    training: Schedule,
    *,
    dim: int = 64,
    hidden: int = 128,
    layers: int = 2,
    dropout: float = 0.1,
    negatives: int = 4,
    branches: str = "both",
    length: int = 50,
) -> list[Stage]:
    """NCF from numbers; see `NCF`."""
    if branches == "gmf":
        of_network = {"hidden": hidden, "layers": layers, "dropout": dropout}
        refuse_unread(NCF, of_network, "branches='gmf' has no network; leave it out, or choose branches='both'")
    method = NCF(
        catalog,
        dim,
        hidden=hidden,
        layers=layers,
        dropout=dropout,
        negatives=negatives,
        branches=branches,
        length=length,
        make_optimizer=training.optimizer(),
    )
    return [training.stage(method, sliding, protocol=pair_protocol(catalog.n_items))]
