"""A vector for each user of the training data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recloom.errors import InputError


class UserEmbedding(nn.Module):
    """A learned vector a user; a user who was not trained is the mean of those who were.

    Args:
        n_users: as in `Catalog.n_users`.
        dim: width.
        std: standard deviation of the initial vectors.

    Attributes:
        trained: `(n_users,)` bool, who was; everybody, until training says otherwise.
    """

    trained: Tensor

    def __init__(self, n_users: int, dim: int, std: float = 0.02) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(max(n_users, 1), dim) * std)
        self.register_buffer("trained", torch.ones(len(self.weight), dtype=torch.bool))

    def forward(self, users: Tensor) -> Tensor:
        """`(batch,)` user numbers, -1 for somebody else -> `(batch, dim)`.

        Raises:
            InputError: a user behind the last one, of other data.
        """
        known, found = self.knows(users), self.weight[users.clamp(min=0)]
        return found if bool(known.all()) else torch.where(known[:, None], found, self.mean())

    def knows(self, users: Tensor) -> Tensor:
        """`(batch,)` user numbers -> bool, whether each was trained."""
        if int(users.max()) >= len(self.weight):
            raise InputError(
                f"user {int(users.max())} (counted from 0) is not among the {len(self.weight)} this method knows; "
                "prepare the data again and train on it, or evaluate on the data of the run"
            )
        return (users >= 0) & self.trained[users.clamp(min=0)]

    def mean(self) -> Tensor:
        """`(dim,)`, of those who were trained."""
        return self.weight[self.trained].mean(0)

    def train_only(self, users: Tensor) -> None:
        """Note who is trained: these, by number, and nobody else."""
        self.trained.fill_(False)[users] = True
