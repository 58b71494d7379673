"""A few learned vectors that a state may read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recloom.errors import InputError
from recloom.nn.dropout import dropout as drop

KINDS = ("residual", "plain", "none")


class Memory(nn.Module):
    """`c + M^T softmax(W c + b)`: a mixture of slots is added to a state.

    Args:
        dim: width of states and slots.
        slots: how many vectors it holds; 0 is as "none".
        kind: "residual"; "plain", the mixture without the state; "none", the state as it is.
        addressing: how a state chooses slots: "linear", or "mlp": a layer of width `dim` with ReLU before it.
        dropout: rate on what is returned.

    Source: Qiu et al., MMInfoRec, ICDM 2021, section 4.3 (Res-M, FC-M), with the linear addressing of the code.
    """

    def __init__(
        self, dim: int, slots: int, *, kind: str = "residual", addressing: str = "linear", dropout: float = 0.2
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise InputError(f"memory={kind!r} is not known; choose one of {', '.join(KINDS)}")
        if addressing not in ("linear", "mlp"):
            raise InputError(f"addressing={addressing!r} is not known; choose 'linear' or 'mlp'")
        self.kind, self.dropout = kind if slots else "none", dropout
        if self.kind == "none":
            return
        self.slots = nn.Parameter(torch.randn(slots, dim) * dim**-0.5)
        linear = nn.Linear(dim, slots)
        self.address = linear if addressing == "linear" else nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), linear)

    def forward(self, states: Tensor) -> Tensor:
        """`(..., dim)` -> the same shape."""
        if self.kind == "none":
            return states
        read = self.address(states).softmax(-1) @ self.slots
        return drop(states + read if self.kind == "residual" else read, self.dropout, self.training)

    def norms(self) -> Tensor:
        """The length of each slot's vector: `(slots,)`; those that decay has emptied are near 0."""
        return self.slots.detach().norm(dim=1) if self.kind != "none" else torch.zeros(0)
