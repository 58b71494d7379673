"""The recurrent encoder."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from recloom.encoders.encoder import Encoder
from recloom.errors import InputError
from recloom.nn.dropout import dropout
from recloom.nn.last_of import last_of


class Recurrent(Encoder):
    """A gated recurrent unit over item vectors and a linear map of its states back to their width.

    `z = sigma(W_z x + U_z h)`, `r = sigma(W_r x + U_r h)`, `c = tanh(W x + r * (U h))`, `h' = (1 - z) * c + z * h`.

    Args:
        dim: width of the item vectors and, with `project`, of the states.
        hidden: width of the recurrent state.
        layers: units on top of each other.
        dropout: rate on the item vectors.
        length: the longest row.
        bias: whether the unit has biases; the equations above have none.
        project: False returns the recurrent states as they are, `hidden` wide, for an encoder that joins several.

    Raises:
        InputError: layers, hidden or length below 1, or a rate outside 0..1.

    Source: Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016.
    Departures: the reset gate multiplies `U h`, not `h` (the form that fast kernels have). Matrices of the unit start
    with Xavier's uniform distribution, each gate's stack as one matrix, as in RecBole; its biases start at 0.

    A state depends on its own and earlier items alone, so padding on the right needs no mask.
    """

    contexts: ClassVar[frozenset[str]] = frozenset({"causal"})

    def __init__(
        self,
        dim: int,
        *,
        hidden: int = 128,
        layers: int = 1,
        dropout: float = 0.3,
        length: int = 50,
        bias: bool = False,
        project: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("hidden", hidden), ("layers", layers), ("length", length)):
            if value < 1:
                raise InputError(f"{name}={value}: at least 1 is needed")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout={dropout} must be at least 0 and below 1")
        self.width, self.dim, self.length, self.dropout = dim, dim if project else hidden, length, dropout
        self.unit = nn.GRU(dim, hidden, layers, bias=bias, batch_first=True)
        self.project = nn.Linear(hidden, dim) if project else nn.Identity()
        for name, parameter in self.unit.named_parameters():
            nn.init.zeros_(parameter) if name.startswith("bias") else nn.init.xavier_uniform_(parameter)

    @property
    def input_dim(self) -> int:
        return self.width

    def forward(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        states: Tensor = self.project(self._run(vectors, context))
        return states

    def last(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        states = self._run(vectors, context)
        ends: Tensor = self.project(last_of(states, valid))
        return ends

    def _run(self, vectors: Tensor, context: str) -> Tensor:
        """The recurrent states, `(batch, length, hidden)`."""
        self.require(context)
        if vectors.shape[1] > self.length:
            raise InputError(f"a row of {vectors.shape[1]} items is longer than length={self.length} of this encoder")
        states: Tensor = self.unit(dropout(vectors, self.dropout, self.training))[0]
        return states
