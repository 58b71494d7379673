"""How many items a ratio of a row is."""

from __future__ import annotations

from torch import Tensor


def floor_share(lengths: Tensor, ratio: float) -> Tensor:
    """`floor(ratio * length)` as in decimals, int64: .3 of 10 items are 3, though the product is a little less.

    In float64, as in float32 the products of rows of more than 32 items are too coarse to tell.
    """
    return (lengths.double() * ratio + 1e-6).long()
