"""What every item embedder offers: ids in, vectors out, and the table of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class ItemEmbedder(nn.Module, ABC):
    """Turns item ids into vectors.

    Attributes:
        n_items: real items, ids 1..n_items; 0 is padding, `n_items + 1` the mask.
        dim: width of a vector.
    """

    n_items: int
    dim: int

    @property
    def mask_id(self) -> int:
        return self.n_items + 1

    @abstractmethod
    def forward(self, ids: Tensor) -> Tensor:
        """`(...)` int64 ids -> `(..., dim)`; padding gives the zero vector."""

    @abstractmethod
    def table(self) -> Tensor:
        """The vector of every id, `(n_items + 2, dim)`; differentiable."""
