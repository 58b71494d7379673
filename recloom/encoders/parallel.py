"""Two encoders side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recloom.encoders.encoder import Encoder
from recloom.errors import InputError
from recloom.nn.dropout import dropout as drop
from recloom.nn.transformer_blocks import EPS


class Parallel(Encoder):
    """Each encoder reads its part of the input vectors; a linear map joins their states.

    Args:
        first, second: encoders of the first `first.input_dim` and of the remaining `second.input_dim` values.
        dim: width of the joined states; the first's if None.
        norm: whether they are normalised.
        dropout: rate on the joined states.
        std: standard deviation of the initial weights of the map; its bias starts at 0.

    Attributes:
        contexts: what both can read.

    Raises:
        InputError: there is no context that both can read, or a rate outside 0..1.
    """

    def __init__(
        self,
        first: Encoder,
        second: Encoder,
        *,
        dim: int | None = None,
        norm: bool = False,
        dropout: float = 0.0,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        self.contexts = first.contexts & second.contexts  # type: ignore[misc]
        if not self.contexts:
            one, two = (", ".join(sorted(part.contexts)) for part in (first, second))
            raise InputError(
                f"{type(first).__name__} reads {one} and {type(second).__name__} reads {two}; "
                f"side by side they need a context that both can read"
            )
        if not 0 <= dropout < 1:
            raise InputError(f"dropout={dropout} must be at least 0 and below 1")
        self.first, self.second = first, second
        self.dim, self.length, self.dropout = dim or first.dim, min(first.length, second.length), dropout
        self.join = nn.Linear(first.dim + second.dim, self.dim)
        nn.init.normal_(self.join.weight, 0, std)
        nn.init.zeros_(self.join.bias)
        self.norm = nn.LayerNorm(self.dim, EPS) if norm else nn.Identity()

    @property
    def input_dim(self) -> int:
        return self.first.input_dim + self.second.input_dim

    def forward(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        one, two = self._split(vectors, context)
        return self._joined(self.first(one, valid, context), self.second(two, valid, context))

    def last(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        one, two = self._split(vectors, context)
        return self._joined(self.first.last(one, valid, context), self.second.last(two, valid, context))

    def _split(self, vectors: Tensor, context: str) -> tuple[Tensor, Tensor]:
        self.require(context)
        one, two = vectors.split([self.first.input_dim, self.second.input_dim], -1)
        return one, two

    def _joined(self, one: Tensor, two: Tensor) -> Tensor:
        return drop(self.norm(self.join(torch.cat([one, two], -1))), self.dropout, self.training)
