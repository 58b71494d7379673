"""What every item embedder offers: ids in, vectors out, and the table of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class ItemEmbedder(nn.Module, ABC):
    """Turns item ids into vectors.

    Attributes:
        n_items: real items, ids 1..n_items; 0 is padding, `n_items + 1` the mask.
        dim: width of the vectors that go into an encoder.
        table_dim: width of the vectors that states are compared with; `dim` unless the embedder says otherwise.
    """

    n_items: int
    dim: int

    @property
    def table_dim(self) -> int:
        return self.dim

    @property
    def mask_id(self) -> int:
        return self.n_items + 1

    @abstractmethod
    def forward(self, ids: Tensor) -> Tensor:
        """`(...)` int64 ids -> `(..., dim)`; padding gives the zero vector."""

    @abstractmethod
    def table(self) -> Tensor:
        """What a state is compared with, `(n_items + 2, table_dim)`, one row an id; differentiable."""
