"""FPMC: what a user likes, and what follows the latest item.

Paper: Rendle et al., Factorizing Personalized Markov Chains for Next-Basket Recommendation, WWW 2010.

Departures: a basket is one item, so the transition is from the latest item alone. Adam over batches of histories, every
transition once an epoch, instead of single bootstrapped ones; the L2 terms are Adam's `weight_decay`, 0 unless given
(the paper searches them for each data set). Negatives are uniform items outside the row. `loss` may be another one,
such as "softmax". A user who was not trained is the mean of the users, so that the latest item decides.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.windows import sliding
from recloom.methods.about import About
from recloom.methods.composition import composed
from recloom.nn.last_of import last_of
from recloom.nn.users import UserEmbedding
from recloom.objectives import NextItem
from recloom.training import MakeOptimizer, Method, Schedule, Stage

ABOUT = About("Rendle et al., Factorizing Personalized Markov Chains for Next-Basket Recommendation, WWW", 2010)


class FPMC(Method):
    """`score = <v(U,I)_u, v(I,U)_i> + <v(I,L)_i, v(L,I)_l>` with the latest item l (equation 7 of the paper).

    Args:
        catalog: items and number of users.
        dim: width of each of the four tables.
        next_item: the loss; S-BPR of the paper is "bpr".
        length: items of a history in a training row.
    """

    def __init__(
        self,
        catalog: Catalog,
        dim: int,
        next_item: NextItem,
        *,
        length: int = 50,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(None, length=length, make_optimizer=make_optimizer)
        std = (2 / (catalog.n_rows + dim)) ** 0.5
        self.next_item = next_item
        self.users = UserEmbedding(catalog.n_users, dim, (2 / (max(catalog.n_users, 1) + dim)) ** 0.5)
        self.latest = nn.Parameter(torch.randn(catalog.n_rows, dim) * std)
        self.items = nn.Parameter(torch.randn(catalog.n_rows, 2 * dim) * std)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        latest = F.embedding(batch.items, self.latest)
        states = torch.cat([self.users(batch.users)[:, None].expand_as(latest), latest], -1)
        return self.total(next_item=self.next_item(states, self.items, batch, self.generator))

    def queries(self, batch: SequenceBatch) -> Tensor:
        latest = F.embedding(last_of(batch.items, batch.valid), self.latest)
        return torch.cat([self.users(batch.users), latest], -1)[:, None]

    def catalogue(self) -> Tensor:
        return self.items


@composed(training=partial(Schedule, epochs=200))
def build(
    catalog: Catalog,
    training: Schedule,
    *,
    dim: int = 64,
    length: int = 50,
    loss: str = "bpr",
    negatives: int = 1,
    precision: str = "auto",
) -> list[Stage]:
    """FPMC from numbers; see `FPMC` and `NextItem`."""
    next_item = NextItem(loss, negatives=negatives, precision=precision)
    method = FPMC(catalog, dim, next_item, length=length, make_optimizer=training.optimizer())
    return [training.stage(method, sliding)]
