"""BPR-MF: a user's vector should lie nearer to what the user chose than to what the user did not.

Paper: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009.

Departures: Adam over batches of whole histories, every action once an epoch against uniform items outside its row,
instead of single bootstrapped triples. No item biases unless `biases=True`. A user who was not trained is folded in
from the given history: with the items fixed, the vector whose scores are in the least squares 1 for these items, each
as often as it stands there, and, with the weight `others`, 0 for all items (as in iALS), biases included; drawn to the
mean user by `ridge`. The same is not done for users who were trained.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD, Catalog
from recloom.data.negatives import ActionsWithNegatives
from recloom.data.windows import sliding
from recloom.methods.about import About
from recloom.methods.composition import composed
from recloom.nn.users import UserEmbedding
from recloom.training import MakeOptimizer, Method, Schedule, Stage

ABOUT = About("Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI", 2009, sequential=False)


class BPRMF(Method):
    """`score = <p_u, q_i> + b_i`; loss `-log sigma(score of a chosen item - score of another)` (section 4.3.1).

    Args:
        catalog: items and number of users.
        dim: width of the vectors.
        length: items of a history in a training row, and those that a new user is folded in from.
        negatives: items drawn for each action.
        regularisation: of the squared norms of the vectors of each triple.
        biases: whether items have one.
        others: where a new user is folded in, weight of a score of 0 for all items.
        ridge: where a new user is folded in, the pull to the mean user.
    """

    not_exported = "it folds a new user in by solving equations, for which ONNX has no operator"

    def __init__(
        self,
        catalog: Catalog,
        dim: int,
        *,
        length: int = 50,
        negatives: int = 1,
        regularisation: float = 1e-3,
        biases: bool = False,
        others: float = 0.1,
        ridge: float = 1.0,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        super().__init__(None, length=length, make_optimizer=make_optimizer)
        self.actions, self.regularisation = ActionsWithNegatives(catalog.n_items, negatives, length), regularisation
        self.others, self.ridge = others, ridge
        std = (2 / (catalog.n_rows + dim)) ** 0.5
        self.users = UserEmbedding(catalog.n_users, dim, (2 / (max(catalog.n_users, 1) + dim)) ** 0.5)
        self.items = nn.Parameter(torch.randn(catalog.n_rows, dim) * std)
        self.biases = nn.Parameter(torch.zeros(catalog.n_rows)) if biases else None
        self.bias_columns = int(biases)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        rows, items, drawn = self.actions(batch, self.generator)
        users, both = self.users(batch.users)[rows], torch.cat([items[:, None], drawn], 1)
        vectors = F.embedding(both, self.items)
        scores = torch.einsum("nd,nkd->nk", users, vectors)
        if self.biases is not None:
            scores = scores + self.biases[both]
        norms = users.square().sum() + vectors.square().sum()
        ranked = F.softplus(scores[:, 1:] - scores[:, :1]).mean()
        return self.total({"norms": self.regularisation}, ranked=ranked, norms=norms / len(items))

    def queries(self, batch: SequenceBatch) -> Tensor:
        users, new = self.users(batch.users), ~self.users.knows(batch.users)
        if bool(new.any()):
            users = torch.where(new[:, None], self.fold_in(batch.items), users)
        return self._with_bias(users, torch.ones(len(users), device=self.device))[:, None]

    def catalogue(self) -> Tensor:
        return self._with_bias(self.items, self.biases)

    def fold_in(self, items: Tensor) -> Tensor:
        """Vectors of new users from their histories, `(batch, length)` -> `(batch, dim)`."""
        real = self.items[1:-1]
        vectors = F.embedding(items, self.items) * (items != PAD)[..., None]
        mean, unit = self.users.mean(), torch.eye(real.shape[1], dtype=real.dtype, device=real.device)
        matrix = vectors.transpose(1, 2) @ vectors + self.others * real.t() @ real + self.ridge * unit
        wanted = vectors.sum(1) + self.ridge * mean
        if self.biases is not None:
            wanted = wanted - (vectors * self.biases[items][..., None]).sum(1) - self.others * self.biases[1:-1] @ real
        return torch.linalg.solve(matrix, wanted)

    def _with_bias(self, vectors: Tensor, last: Tensor | None) -> Tensor:
        return vectors if self.biases is None or last is None else torch.cat([vectors, last[:, None]], 1)


@composed(training=partial(Schedule, epochs=200))
def build(
    catalog: Catalog,
    training: Schedule,
    *,
    dim: int = 64,
    length: int = 50,
    negatives: int = 1,
    regularisation: float = 1e-3,
    biases: bool = False,
    others: float = 0.1,
    ridge: float = 1.0,
) -> list[Stage]:
    """BPR-MF from numbers; see `BPRMF`."""
    method = BPRMF(
        catalog,
        dim,
        length=length,
        negatives=negatives,
        regularisation=regularisation,
        biases=biases,
        others=others,
        ridge=ridge,
        make_optimizer=training.optimizer(),
    )
    return [training.stage(method, sliding)]
