"""A vector for each user of the training data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recloom.errors import InputError


class UserEmbedding(nn.Module):
    """A learned vector a user; a user who was not trained, -1, is the mean of them all.

    Args:
        n_users: as in `Catalog.n_users`.
        dim: width.
        std: standard deviation of the initial vectors.
    """

    def __init__(self, n_users: int, dim: int, std: float = 0.02) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(max(n_users, 1), dim) * std)

    def forward(self, users: Tensor) -> Tensor:
        """`(batch,)` user numbers -> `(batch, dim)`.

        Raises:
            InputError: a user behind the last one, of other data.
        """
        if int(users.max()) >= len(self.weight):
            raise InputError(
                f"user {int(users.max())} (counted from 0) is not among the {len(self.weight)} this method knows; "
                "prepare the data again and train on it, or evaluate on the data of the run"
            )
        found = self.weight[users.clamp(min=0)]
        unknown = users < 0
        return torch.where(unknown[:, None], self.weight.mean(0), found) if bool(unknown.any()) else found
