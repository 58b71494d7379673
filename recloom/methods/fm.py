"""FM: a factorization machine over the user, the item and the item's attributes.

Paper: Rendle, Factorization Machines, ICDM 2010; as a baseline of Zhou et al., S3-Rec, CIKM 2020.

Departures: the attributes are one multi-valued feature, the mean of their vectors, so they make pairs with the user and
the item and not with each other. The score then splits into a user part and an item part, and a full ranking is one
matrix product, where S3-Rec's authors left full ranking out. Trained by BCE on every training action against uniform
items outside its row; `negatives` to one. Without attributes it reads users and items alone. A user who was not
trained (any history given to `recommend`) is the mean of the users: FM ignores histories.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.negatives import uniform_outside
from recloom.data.windows import sliding
from recloom.errors import InputError
from recloom.items import AttributeEmbedding
from recloom.methods.about import About
from recloom.training import MakeOptimizer, Method, Stage, adam

ABOUT = About("Rendle, Factorization Machines, ICDM", 2010, sequential=False)


def actions(batch: SequenceBatch) -> Tensor:
    """`(batch, length + 1)`: the items whose actions count in this row, `PAD` elsewhere; each of a history once."""
    assert batch.targets is not None
    first = torch.where(batch.targets[:, :1] != 0, batch.items[:, :1], 0)  # no row before this one held it as a target
    return torch.cat([first, batch.targets], 1)


def with_unknown(users: Tensor, table: Tensor) -> Tensor:
    """Rows of a table of users; their mean for an unknown user, -1.

    Raises:
        InputError: a user behind the end of the table, which was made for other data.
    """
    if int(users.max()) >= len(table):
        raise InputError(
            f"user {int(users.max())} (counted from 0) is not among the {len(table)} this method knows; prepare "
            "the data again and train on it, or evaluate on the data of the run"
        )
    return torch.where((users < 0)[:, None], table.mean(0), table[users.clamp(min=0)])


class FactorizationMachine(Method):
    """`w0 + sum of weights + sum of products of all pairs of features` (equation 1 of the paper).

    With the user's vector u, the item's i and the mean a of its attributes' vectors: `<u, i + a> + <i, a>` and weights.

    Args:
        catalog: items, attributes, number of users.
        dim: width of the vectors.
        length: items of a history in a training row.
        negatives: items drawn for each action.
    """

    known: Tensor

    def __init__(
        self,
        catalog: Catalog,
        dim: int,
        *,
        length: int = 50,
        negatives: int = 1,
        std: float = 0.02,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(None, length=length, make_optimizer=make_optimizer)
        if negatives < 1:
            raise InputError(f"negatives={negatives}: at least 1 is needed")
        self.n_items, self.negatives = catalog.n_items, negatives
        self.bias = nn.Parameter(torch.zeros(()))
        self.users = nn.Parameter(torch.randn(max(catalog.n_users, 1), dim) * std)
        self.user_weights = nn.Parameter(torch.zeros(max(catalog.n_users, 1), 1))
        self.items = nn.Parameter(torch.randn(catalog.n_rows, dim) * std)
        self.item_weights = nn.Parameter(torch.zeros(catalog.n_rows, 1))
        self.attributes = AttributeEmbedding(catalog, dim, std=std) if catalog.n_attributes else None
        self.attribute_weights = AttributeEmbedding(catalog, 1, std=std) if catalog.n_attributes else None
        known = np.ones(catalog.n_rows, dtype=bool)
        if catalog.n_attributes and catalog.train_counts.any():
            known = catalog.train_counts > 0  # the others are their attributes alone
        self.register_buffer("known", torch.from_numpy(known)[:, None], persistent=False)

    @property
    def scores_cold_items(self) -> bool:
        return self.attributes is not None

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        wanted, whole = actions(batch), batch.whole()
        drawn = uniform_outside(whole, (*wanted.shape, self.negatives), self.n_items, self.generator)
        rows, _ = (wanted != 0).nonzero(as_tuple=True)
        users = self.of_users(batch.users)[rows]
        good = (users * self.of_items(wanted[wanted != 0])).sum(-1)
        bad = torch.einsum("nd,nkd->nk", users, self.of_items(drawn[wanted != 0]))
        return self.total(actions=(F.softplus(-good) + F.softplus(bad).sum(1)).mean())

    def of_users(self, users: Tensor) -> Tensor:
        """`(batch,)` -> `(batch, dim + 2)`: vector, 1, and what is the user's own."""
        vectors, weights = with_unknown(users, self.users), with_unknown(users, self.user_weights)
        return torch.cat([vectors, torch.ones_like(weights), weights + self.bias], -1)

    def of_items(self, items: Tensor) -> Tensor:
        """`(...)` -> `(..., dim + 2)`: vector, weight, and 1. An item never trained on is its attributes alone."""
        known = self.known[items]
        vectors, weights = F.embedding(items, self.items) * known, F.embedding(items, self.item_weights) * known
        if self.attributes is not None and self.attribute_weights is not None:
            attributes = self.attributes(items)
            weights = weights + self.attribute_weights(items) + (vectors * attributes).sum(-1, keepdim=True)
            vectors = vectors + attributes
        return torch.cat([vectors, weights, torch.ones_like(weights)], -1)

    def queries(self, batch: SequenceBatch) -> Tensor:
        return self.of_users(batch.users)[:, None]

    def catalogue(self) -> Tensor:
        return self.of_items(torch.arange(self.n_items + 2, device=self.device))


def build(
    catalog: Catalog,
    *,
    dim: int = 64,
    length: int = 50,
    negatives: int = 1,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    batch_size: int = 256,
    epochs: int = 200,
    patience: int = 10,
) -> list[Stage]:
    """FM from numbers."""
    make_optimizer = adam(lr, weight_decay)
    method = FactorizationMachine(catalog, dim, length=length, negatives=negatives, make_optimizer=make_optimizer)
    return [Stage(method, epochs, sliding, batch_size, patience=patience)]
