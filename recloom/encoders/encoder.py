"""What every encoder offers: vectors in, states out, and the contexts it can read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from recloom.errors import InputError
from recloom.nn.last_of import last_of
from recloom.nn.packing import Packing


class Encoder(nn.Module, ABC):
    """Turns a row of item vectors into a row of states.

    Attributes:
        contexts: which of "causal" (a state sees its own and earlier items) and "bidirectional" (a state
            sees the whole row) the encoder can read.
        dim: width of its states.
        input_dim: width of its inputs; `dim` unless the encoder says otherwise.
        length: the most items a row may hold.
    """

    contexts: ClassVar[frozenset[str]]
    dim: int
    length: int

    @property
    def input_dim(self) -> int:
        return self.dim

    @abstractmethod
    def forward(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        """`vectors: (batch, length, dim)`, `valid: (batch, length)` -> states `(batch, length, dim)`."""

    def last(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        """The state at the last real position of each row, `(batch, dim)`; all that serving needs."""
        return last_of(self(vectors, valid, context), valid)

    def at(self, vectors: Tensor, valid: Tensor, places: Tensor, context: str = "causal") -> Tensor:
        """The states at some real positions, row after row: `places: (batch, length)` of bool -> `(n, dim)`."""
        return self(vectors, valid, context)[places]

    def packing(self, valid: Tensor) -> Packing | None:
        """How rows, `valid: (batch, length)`, should share rows; None where this encoder wants them as they are."""
        return None

    def of_packed(
        self, vectors: Tensor, packed: Packing, slots: Tensor | None = None, context: str = "causal"
    ) -> Tensor:
        """States of packed rows: `(packed, width, dim)`, of some flat `slots: (n,)` alone `(n, dim)`.

        Whoever gives a `packing` offers it.
        """
        raise NotImplementedError

    def require(self, context: str) -> None:
        """Raise an `InputError` unless this encoder reads the context."""
        if context not in self.contexts:
            can = ", ".join(sorted(self.contexts))
            raise InputError(
                f"{type(self).__name__} cannot read a {context!r} context; it reads {can}. "
                f"Choose another encoder or another context."
            )
