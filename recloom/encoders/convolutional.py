"""The convolutional encoder."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.encoders.encoder import Encoder
from recloom.errors import InputError
from recloom.nn.dropout import dropout


class Convolutional(Encoder):
    """Filters over the latest items of each position, seen as an image of `recent` rows and `dim` columns.

    Horizontal filters of heights 1..recent span all columns and are pooled to their maximum over time; vertical ones
    are `recent` high and one column wide, weighted sums over positions. A linear map with ReLU joins them.

    Args:
        dim: width of the item vectors and of the states.
        recent: how many items a state reads, its own included; earlier places of a short history are zero.
        horizontal: filters of each height.
        vertical: filters one column wide.
        dropout: rate on the filters' outputs.
        length: the longest row.

    Source: Tang and Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding (Caser),
    WSDM 2018, section 3.2. All positions of a row are computed at one time: a filter runs over the whole row once, and
    the maximum is a sliding one.
    """

    contexts: ClassVar[frozenset[str]] = frozenset({"causal"})

    def __init__(
        self,
        dim: int,
        *,
        recent: int = 5,
        horizontal: int = 16,
        vertical: int = 4,
        dropout: float = 0.5,
        length: int = 50,
    ) -> None:
        super().__init__()
        for name, value in (("recent", recent), ("horizontal", horizontal), ("vertical", vertical), ("length", length)):
            if value < 1:
                raise InputError(f"{name}={value}: at least 1 is needed")
        if recent > length:
            raise InputError(f"recent={recent} reads more than the length={length} of a row; choose at most that")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout={dropout} must be at least 0 and below 1")
        self.dim, self.recent, self.dropout, self.length = dim, recent, dropout, length
        self.horizontal = nn.ModuleList(nn.Conv1d(dim, horizontal, height) for height in range(1, recent + 1))
        self.vertical = nn.Linear(recent, vertical)
        self.join = nn.Linear(horizontal * recent + vertical * dim, dim)

    def forward(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        self.require(context)
        if vectors.shape[1] > self.length:
            raise InputError(f"a row of {vectors.shape[1]} items is longer than length={self.length} of this encoder")
        row = F.pad((vectors * valid[..., None]).transpose(1, 2), (self.recent - 1, 0))
        return self._read(row)

    def last(self, vectors: Tensor, valid: Tensor, context: str = "causal") -> Tensor:
        """The last real position's state, from the latest `recent` items alone."""
        self.require(context)
        place = valid.sum(1, keepdim=True) - self.recent + torch.arange(self.recent, device=valid.device)
        index = place.clamp(min=0)[..., None].expand(-1, -1, vectors.shape[2])
        latest = vectors.gather(1, index) * (place >= 0)[..., None]
        return self._read(latest.transpose(1, 2))[:, 0]

    def _read(self, row: Tensor) -> Tensor:
        """`(batch, dim, recent - 1 + positions)` -> `(batch, positions, dim)`."""
        found = []
        for height, convolution in enumerate(self.horizontal, 1):
            seen = F.relu(convolution(row))
            found.append(F.max_pool1d(seen, self.recent - height + 1, 1).transpose(1, 2))
        sums = self.vertical(row.unfold(2, self.recent, 1))  # (batch, dim, positions, vertical)
        found.append(sums.permute(0, 2, 3, 1).flatten(2))
        return F.relu(self.join(dropout(torch.cat(found, -1), self.dropout, self.training)))
