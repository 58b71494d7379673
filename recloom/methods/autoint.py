"""AutoInt: user, item and attributes attend to each other before they are scored.

Paper: Song et al., AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks, CIKM 2019; as a
baseline of Zhou et al., S3-Rec, CIKM 2020.

Departures: the attributes are one field, the mean of their vectors. Attention has no scaling by the width, and ReLU
follows each layer's residual, as in the paper; RecBole scales it, applies ReLU once at the end and adds a first-order
term and a second network beside the attention (`deep=True` adds such a network). Trained by BCE on every
training action against uniform items outside its row. A ranker: every pair of a user and an item is scored by
itself, so validation after each epoch is under sample-99 where there are more than 1,000 items. A user who was not
trained is the mean of the users: AutoInt ignores histories.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.negatives import ActionsWithNegatives
from recloom.data.windows import sliding
from recloom.errors import InputError
from recloom.items import AttributeEmbedding, IdEmbedding, ItemEmbedder
from recloom.methods.about import About
from recloom.methods.composition import composed
from recloom.nn.dropout import dropout as drop
from recloom.nn.pairs import score_pairs
from recloom.nn.users import UserEmbedding
from recloom.training import MakeOptimizer, Method, Schedule, Stage, pair_protocol

ABOUT = About("Song et al., AutoInt, CIKM", 2019, "read", sequential=False)

PAIRS_AT_ONCE = 1 << 10
"""Pairs of a user and an item scored at one time: each needs some kilobytes, which should stay near the processor."""


class InteractingLayer(nn.Module):
    """Multi-head attention among the fields of an example (equations 5 to 8): `ReLU(heads + W_res e)`."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"dim={dim} is not a multiple of heads={heads}; choose heads that divide dim")
        self.heads = heads
        self.query, self.key, self.value, self.residual = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def forward(self, fields: Tensor) -> Tensor:
        """`(fields, examples, dim)` -> the same shape: so few fields that sums over them are faster than products."""
        query, key, value = (
            part(fields).unflatten(-1, (self.heads, -1)) for part in (self.query, self.key, self.value)
        )
        shares = (query[:, None] * key).sum(-1, keepdim=True).softmax(1)
        return F.relu((shares * value).sum(1).flatten(2) + self.residual(fields))


class AutoInt(Method):
    """A linear reading of the fields after some interacting layers.

    Args:
        catalog: items, attributes, number of users.
        dim: width of a field.
        layers: interacting layers.
        heads: of attention in each layer.
        dropout: rate on the fields while training.
        deep: add a network of two layers over the concatenated fields.
        negatives: items drawn for each action.
        length: items of a history in a training row.
        items, attributes: embeddings to use, such as pre-trained ones; new ones if None.
    """

    ranks_by = "scores"
    reads_histories = False
    trained: Tensor

    def __init__(
        self,
        catalog: Catalog,
        dim: int,
        *,
        layers: int = 3,
        heads: int = 2,
        dropout: float = 0.2,
        deep: bool = False,
        length: int = 50,
        negatives: int = 1,
        items: ItemEmbedder | None = None,
        attributes: AttributeEmbedding | None = None,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(None, length=length, make_optimizer=make_optimizer)
        self.actions, self.dropout = ActionsWithNegatives(catalog.n_items, negatives, length), dropout
        self.users = UserEmbedding(catalog.n_users, dim)
        self.items: ItemEmbedder = items or IdEmbedding(catalog, dim)
        own = AttributeEmbedding(catalog, dim) if catalog.n_attributes and attributes is None else attributes
        self.attributes = own
        width = (2 if own is None else 3) * dim
        self.layers = nn.ModuleList(InteractingLayer(dim, heads) for _ in range(layers))
        self.read = nn.Linear(width, 1)
        self.deep = nn.Sequential(nn.Linear(width, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, 1)) if deep else None
        self.register_buffer("trained", torch.from_numpy(catalog.trained)[:, None], persistent=False)

    @property
    def scores_cold_items(self) -> bool:
        return self.attributes is not None

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        rows, positives, drawn = self.actions(batch, self.generator)
        items = torch.cat([positives[:, None], drawn], 1)
        users = self.users(batch.users)[rows][:, None].expand(*items.shape, -1)
        scores = self.pairs(users.flatten(0, 1), self.of_items(items.flatten())).view_as(items)
        return self.total(actions=(F.softplus(-scores[:, 0]) + F.softplus(scores[:, 1:]).sum(1)).mean())

    def of_items(self, items: Tensor) -> Tensor:
        """`(n,)` -> `(n, fields, dim)`. An item never trained on is its attributes alone."""
        own = self.items(items)
        if self.attributes is None:
            return own[:, None]
        return torch.stack([own * self.trained[items], self.attributes(items)], 1)

    def pairs(self, users: Tensor, items: Tensor) -> Tensor:
        """`users: (n, dim)` and `items: (n, fields, dim)` -> `(n,)` scores."""
        fields = drop(torch.stack([users, *items.unbind(1)]), self.dropout, self.training)
        states = fields
        for layer in self.layers:
            states = layer(states)
        scores = self.read(side_by_side(states))[:, 0]
        return scores if self.deep is None else scores + self.deep(side_by_side(fields))[:, 0]

    def score(self, batch: SequenceBatch, items: Tensor) -> Tensor:
        candidates = items if items.dim() == 2 else items[None]
        vectors = self.of_items(candidates.flatten()).unflatten(0, candidates.shape)

        def block(users: Tensor, theirs: Tensor) -> Tensor:
            shape = torch.broadcast_shapes(users.shape[:2], theirs.shape[:2])
            each, those = users.expand(*shape, -1), theirs.expand(*shape, -1, -1)
            return self.pairs(each.flatten(0, 1), those.flatten(0, 1)).view(shape)

        return score_pairs(block, self.users(batch.users), vectors, PAIRS_AT_ONCE)


def side_by_side(fields: Tensor) -> Tensor:
    """`(fields, examples, dim)` -> `(examples, fields * dim)`."""
    return fields.transpose(0, 1).flatten(1)


@composed(hidden=("seen_items",), training=Schedule)
def build(
    catalog: Catalog,
    training: Schedule,
    *,
    dim: int = 64,
    layers: int = 3,
    heads: int = 2,
    dropout: float = 0.2,
    deep: bool = False,
    length: int = 50,
    negatives: int = 1,
) -> list[Stage]:
    """AutoInt from numbers; see `AutoInt`."""
    method = AutoInt(
        catalog,
        dim,
        layers=layers,
        heads=heads,
        dropout=dropout,
        deep=deep,
        length=length,
        negatives=negatives,
        make_optimizer=training.optimizer(),
    )
    return [training.stage(method, sliding, protocol=pair_protocol(catalog.n_items))]
