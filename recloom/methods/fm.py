"""FM: a factorization machine over the user, the item and the item's attributes.

Paper: Rendle, Factorization Machines, ICDM 2010; as a baseline of Zhou et al., S3-Rec, CIKM 2020.

Departures: the attributes are one multi-valued feature, the mean of their vectors, so they make pairs with the user and
the item and not with each other. The score then splits into a user part and an item part, and a full ranking is one
matrix product, where S3-Rec's authors left full ranking out. Trained by BCE on every training action against uniform
items outside its row; `negatives` to one. Without attributes it reads users and items alone. A user who was not
trained (any history given to `recommend`) is the mean of the users: FM ignores histories.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.negatives import ActionsWithNegatives
from recloom.data.windows import sliding
from recloom.items import AttributeEmbedding
from recloom.methods.about import About
from recloom.methods.composition import composed
from recloom.nn.users import UserEmbedding
from recloom.training import MakeOptimizer, Method, Schedule, Stage

ABOUT = About("Rendle, Factorization Machines, ICDM", 2010, "read", sequential=False)


class FactorizationMachine(Method):
    """`w0 + sum of weights + sum of products of all pairs of features` (equation 1 of the paper).

    With the user's vector u, the item's i and the mean a of its attributes' vectors: `<u, i + a> + <i, a>` and weights.

    Args:
        catalog: items, attributes, number of users.
        dim: width of the vectors.
        length: items of a history in a training row.
        negatives: items drawn for each action.
    """

    bias_columns = 2

    trained: Tensor

    reads_histories = False

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
        self.n_items, self.actions = catalog.n_items, ActionsWithNegatives(catalog.n_items, negatives, length)
        self.bias = nn.Parameter(torch.zeros(()))
        self.users, self.user_weights = UserEmbedding(catalog.n_users, dim, std), UserEmbedding(catalog.n_users, 1, 0)
        self.items = nn.Parameter(torch.randn(catalog.n_rows, dim) * std)
        self.item_weights = nn.Parameter(torch.zeros(catalog.n_rows, 1))
        self.attributes = AttributeEmbedding(catalog, dim, std=std) if catalog.n_attributes else None
        self.attribute_weights = AttributeEmbedding(catalog, 1, std=std) if catalog.n_attributes else None
        self.register_buffer("trained", torch.from_numpy(catalog.trained)[:, None], persistent=False)

    @property
    def scores_cold_items(self) -> bool:
        return self.attributes is not None

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        rows, items, drawn = self.actions(batch, self.generator)
        users = self.of_users(batch.users)[rows]
        good = (users * self.of_items(items)).sum(-1)
        bad = torch.einsum("nd,nkd->nk", users, self.of_items(drawn))
        return self.total(actions=(F.softplus(-good) + F.softplus(bad).sum(1)).mean())

    def of_users(self, users: Tensor) -> Tensor:
        """`(batch,)` -> `(batch, dim + 2)`: vector, 1, and what is the user's own."""
        weights = self.user_weights(users)
        return torch.cat([self.users(users), torch.ones_like(weights), weights + self.bias], -1)

    def of_items(self, items: Tensor) -> Tensor:
        """`(...)` -> `(..., dim + 2)`: vector, weight, and 1. An item never trained on is its attributes alone."""
        vectors, weights = F.embedding(items, self.items), F.embedding(items, self.item_weights)
        if self.attributes is not None and self.attribute_weights is not None:
            attributes, trained = self.attributes(items), self.trained[items]
            vectors, weights = vectors * trained, weights * trained
            weights = weights + self.attribute_weights(items) + (vectors * attributes).sum(-1, keepdim=True)
            vectors = vectors + attributes
        return torch.cat([vectors, weights, torch.ones_like(weights)], -1)

    def queries(self, batch: SequenceBatch) -> Tensor:
        return self.of_users(batch.users)[:, None]

    def catalogue(self) -> Tensor:
        return self.of_items(torch.arange(self.n_items + 2, device=self.device))


@composed(training=partial(Schedule, epochs=200))
def build(
    catalog: Catalog,
    training: Schedule,
    *,
    dim: int = 64,
    length: int = 50,
    negatives: int = 1,
) -> list[Stage]:
    """FM from numbers; see `FactorizationMachine`."""
    make_optimizer = training.optimizer()
    method = FactorizationMachine(catalog, dim, length=length, negatives=negatives, make_optimizer=make_optimizer)
    return [training.stage(method, sliding)]
