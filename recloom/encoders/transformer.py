"""The transformer encoder with learned positions."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from recloom.encoders.encoder import Encoder
from recloom.errors import InputError
from recloom.nn.dropout import dropout
from recloom.nn.moving_average import AttentionAndAverage, MovingAverage
from recloom.nn.packing import Packing, packing
from recloom.nn.transformer_blocks import EPS, BertBlock, OriginalBlock

BLOCKS = ("bert", "original")


class Transformer(Encoder):
    """Self-attention blocks over item vectors plus learned positions.

    Args:
        dim: width of the vectors and states.
        layers: number of blocks.
        heads: of attention in each block; they share the width.
        length: the longest row, and the number of positions.
        dropout: rate on the embedded input and on every sub-layer.
        attention_dropout: rate on the attention weights; `dropout` if None.
        block: "bert" (post-norm, GELU, width 4d; the S3-Rec family) or "original" (the SASRec paper: query
            normalised only, ReLU, width d, item vectors scaled by the square root of `dim`, a final norm).
        inner: width of the feed-forward; 4d or d by the block if None.
        activation: of the feed-forward, "gelu" or "relu"; the block's own if None.
        positions: "from_start" counts from the oldest item (RecBole's family), "from_end" from the newest
            (S3-Rec's family, which pads on the left).
        input_norm: normalise the embedded input ("bert" alone has such a norm).
        inner_dropout: rate within the feed-forward of "bert"; see `BertBlock`.
        eps: added to the variance in the norms of "bert".
        average_share: of each block, what moving averages of the row count beside attention; 0 for none. See
            `AttentionAndAverage`.
        std: standard deviation of the initial weights; biases start at 0.
    """

    contexts: ClassVar[frozenset[str]] = frozenset({"causal", "bidirectional"})

    def __init__(
        self,
        dim: int,
        *,
        layers: int = 2,
        heads: int = 2,
        length: int = 50,
        dropout: float = 0.5,
        attention_dropout: float | None = None,
        block: str = "bert",
        inner: int | None = None,
        activation: str | None = None,
        positions: str = "from_start",
        input_norm: bool = True,
        inner_dropout: float = 0.0,
        eps: float = EPS,
        average_share: float = 0.0,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise InputError(f"block={block!r} is not known; choose one of {', '.join(BLOCKS)}")
        if positions not in ("from_start", "from_end"):
            raise InputError(f"positions={positions!r} is not known; choose 'from_start' or 'from_end'")
        activation = activation or ("relu" if block == "original" else "gelu")
        if activation not in ("gelu", "relu"):
            raise InputError(f"activation={activation!r} is not known; choose 'gelu' or 'relu'")
        for name, value in (("layers", layers), ("length", length)):
            if value < 1:
                raise InputError(f"{name}={value}: at least 1 is needed")
        self.dim, self.length, self.dropout = dim, length, dropout
        self.original, self.from_end, self.averages = block == "original", positions == "from_end", average_share > 0
        self.position = nn.Embedding(length, dim)
        self.norm = nn.LayerNorm(dim, 1e-8 if self.original else eps) if input_norm else nn.Identity()
        wide = inner or (dim if self.original else 4 * dim)
        rate = dropout if attention_dropout is None else attention_dropout
        numbers = (dim, heads, dropout, rate, wide, activation)
        self.blocks = nn.ModuleList(
            OriginalBlock(*numbers) if self.original else BertBlock(*numbers, inner_dropout, eps) for _ in range(layers)
        )
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, 0, std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        if average_share:
            for made in self.blocks:
                made.attention = AttentionAndAverage(made.attention, MovingAverage(dim, length), average_share)  # type: ignore[arg-type]

    def forward(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        self._check(vectors, context)
        if (packed := self.packing(valid)) is not None:
            return packed.unpack(self.of_packed(packed.pack(vectors), packed, None, context))
        return self._states(self._place(vectors, self.positions(valid)), valid, context == "causal")

    def last(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        """The last real position's state; the last block is computed for it alone."""
        self._check(vectors, context)
        if (packed := self.packing(valid)) is not None:
            return self.of_packed(packed.pack(vectors), packed, packed.ends, context)
        states, ends = self._place(vectors, self.positions(valid)), valid.sum(1, keepdim=True) - 1
        return self._some(states, valid, context == "causal", ends)[:, 0]

    def at(self, vectors: Tensor, valid: Tensor, places: Tensor, context: str = "causal") -> Tensor:
        """The states at some positions; the last block is computed for them alone."""
        self._check(vectors, context)
        if (packed := self.packing(valid)) is not None:
            return self.of_packed(packed.pack(vectors), packed, packed.slots_of(places), context)
        states = self._place(vectors, self.positions(valid))
        return self._at(states, valid, context == "causal", places.flatten().nonzero()[:, 0])

    def packing(self, valid: Tensor) -> Packing | None:
        """How rows share rows, where batches of any lengths come and padding costs much; moving averages do not."""
        return packing(valid) if self.training and valid.device.type == "cpu" and not self.averages else None

    def of_packed(
        self, vectors: Tensor, packed: Packing, slots: Tensor | None = None, context: str = "causal"
    ) -> Tensor:
        self._check(vectors, context)
        at = packed.place + (self.length - packed.lengths)[packed.row] if self.from_end else packed.place
        states = self._place(vectors, self.position(at.clamp(max=self.length - 1)))
        causal, seen = context == "causal", packed.seen(context == "causal")
        return self._states(states, seen, causal) if slots is None else self._at(states, seen, causal, slots)

    def _check(self, vectors: Tensor, context: str) -> None:
        self.require(context)
        if vectors.shape[1] > self.length:
            raise InputError(f"a row of {vectors.shape[1]} items is longer than length={self.length} of this encoder")

    def _states(self, states: Tensor, valid: Tensor, causal: bool) -> Tensor:
        states = self._before_the_last_block(states, valid, causal)
        return self._leave(self.blocks[-1](states, valid, causal))

    def _some(self, states: Tensor, valid: Tensor, causal: bool, places: Tensor) -> Tensor:
        """States at `places: (batch, m)` -> `(batch, m, dim)`."""
        states = self._before_the_last_block(states, valid, causal)
        return self._leave(self.blocks[-1].at(states, valid, causal, places))  # type: ignore[operator]

    def _at(self, states: Tensor, valid: Tensor, causal: bool, slots: Tensor) -> Tensor:
        """States at flat `slots: (n,)` of all rows -> `(n, dim)`."""
        rows, width, _ = states.shape
        wanted = torch.zeros(rows * width, dtype=torch.int64, device=states.device).index_fill(0, slots, 1)
        wanted = wanted.view(rows, width)
        most = max(1, int(wanted.sum(1).max()))
        first = wanted.argsort(dim=1, descending=True, stable=True)[:, :most]
        found = self._some(states, valid, causal, first)
        number = wanted.cumsum(1).flatten()[slots] - 1 + slots // width * most
        return found.flatten(0, 1).index_select(0, number)

    def _before_the_last_block(self, states: Tensor, valid: Tensor, causal: bool) -> Tensor:
        if not self.original:
            states = self.norm(states)
        states = dropout(states, self.dropout, self.training)
        for block in self.blocks[:-1]:
            states = block(states, valid, causal)
        return states

    def _leave(self, states: Tensor) -> Tensor:
        return self.norm(states) if self.original else states

    def _place(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Item vectors and those of their positions."""
        return (vectors * self.dim**0.5 if self.original else vectors) + positions

    def positions(self, valid: Tensor) -> Tensor:
        """Position vectors, `(length, dim)` counted from the start, `(batch, length, dim)` from the end."""
        longest = valid.shape[1]
        if not self.from_end:
            return self.position.weight[:longest]
        at = self.length - valid.sum(1, keepdim=True) + torch.arange(longest, device=valid.device)
        return self.position(at.clamp_(max=self.length - 1))
