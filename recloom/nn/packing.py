"""Rows of very different lengths, several laid end to end in one, so that little of the work is done on padding."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappush, heapreplace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WORTH = 0.8
"""Rows are packed if their items fill at most this share of the padded batch."""


@dataclass(frozen=True)
class Packing:
    """Where each position of right-padded rows lies when several rows share one.

    Attributes:
        valid: `(batch, length)` of the rows as they came.
        places: `(n,)`, the real positions, flat, row after row.
        slots: `(n,)`, where they lie in the packed rows, flat.
        row: `(packed, width)`, the row that a slot belongs to; -1 behind the last one.
        place: `(packed, width)`, where in its row a slot lies, from 0 on.
        lengths: `(batch,)`.
    """

    valid: Tensor
    places: Tensor
    slots: Tensor
    row: Tensor
    place: Tensor
    lengths: Tensor

    @property
    def ends(self) -> Tensor:
        """The slot of each row's last position, `(batch,)`."""
        return self.slots[self.lengths.cumsum(0) - 1]

    def slots_of(self, places: Tensor) -> Tensor:
        """The slots of some positions, row after row: `(batch, length)` of bool, n of them real -> `(n,)`."""
        return self.slots[places.flatten()[self.places]]

    def pack(self, values: Tensor) -> Tensor:
        """`(batch, length, ...)` -> `(packed, width, ...)`; slots that belong to no row are 0."""
        return _moved(values, self.places, self.slots, self.row)

    def unpack(self, values: Tensor) -> Tensor:
        """`(packed, width, ...)` -> `(batch, length, ...)`; 0 on padding."""
        return _moved(values, self.slots, self.places, self.valid)

    def seen(self, causal: bool) -> Tensor:
        """Which slots each slot sees, those of its own row: `(packed, width, width)`."""
        same = self.row[:, :, None] == self.row[:, None, :]
        return same.tril() if causal else same


def _moved(values: Tensor, source: Tensor, target: Tensor, like: Tensor) -> Tensor:
    """Some positions of `values` at other ones of a tensor with the rows of `like`, 0 elsewhere."""
    moved = values.flatten(0, 1).index_select(0, source)
    return moved.new_zeros(like.numel(), *moved.shape[1:]).index_copy(0, target, moved).unflatten(0, like.shape)


def packing(valid: Tensor) -> Packing | None:
    """How to pack right-padded rows, `valid: (batch, length)`, none of them empty; None where that saves too little."""
    lengths = valid.sum(1).numpy()
    assert lengths.all(), "a row is empty"
    if lengths.sum() > WORTH * valid.numel():
        return None
    width = int(lengths.max())
    begins = emptiest_first(lengths, width)
    within = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    slots = np.repeat(begins, lengths) + within
    row = np.full((int(slots.max()) // width + 1, width), -1)
    place = np.zeros_like(row)
    row.flat[slots], place.flat[slots] = np.repeat(np.arange(len(lengths)), lengths), within
    places = valid.flatten().nonzero()[:, 0]
    return Packing(valid, places, *(torch.from_numpy(array) for array in (slots, row, place, lengths)))


def emptiest_first(lengths: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Where each row begins, flat, in packed rows of `width`: `(rows,)`.

    Rows go by falling length to the packed row with most room, which spreads short ones over all of them; another is
    begun where none has room.
    """
    begins = np.zeros(len(lengths), dtype=np.int64)
    filled = [(0, packed) for packed in range(-(-int(lengths.sum()) // width))]
    for number in np.argsort(-lengths, kind="stable").tolist():
        end = filled[0][0] + int(lengths[number])
        if end <= width:
            held, packed = heapreplace(filled, (end, filled[0][1]))
        else:
            held, packed = 0, len(filled)
            heappush(filled, (end - filled[0][0], packed))
        begins[number] = packed * width + held
    return begins
