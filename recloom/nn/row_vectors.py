"""One vector for a row of states."""

from __future__ import annotations

import torch
from torch import Tensor

from recloom.errors import InputError
from recloom.nn.last_of import last_of

READINGS = ("last", "mean", "flat")


def row_vectors(states: Tensor, valid: Tensor, reading: str, length: int) -> Tensor:
    """The last real state of each row, the mean of the real ones, or all of them one after another.

    Args:
        states: `(batch, width, dim)`.
        valid: `(batch, width)`.
        reading: "last", "mean", or "flat": `length * dim` values, aligned at the end of the row, zero before its start.
        length: the longest row.

    Raises:
        InputError: an unknown reading.
    """
    if reading == "last":
        return last_of(states, valid)
    if reading == "mean":
        return (states * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)
    if reading != "flat":
        raise InputError(f"contrast_on={reading!r} is not known; choose one of {', '.join(READINGS)}")
    place = valid.sum(1, keepdim=True) - length + torch.arange(length, device=valid.device)
    index = place.clamp(min=0)[..., None].expand(-1, -1, states.shape[2])
    return (states.gather(1, index) * (place >= 0)[..., None]).flatten(1)


def real_values(reading: str, dim: int, *valid: Tensor) -> Tensor | None:
    """How many values at the end of each of `row_vectors` are no padding, for several batches one after another.

    Args:
        dim: of the states.
        valid: `(batch, width)` each.

    Returns:
        `(rows of all batches,)`; None where all values are real, and on accelerators, which gain nothing by it.
    """
    if reading != "flat" or valid[0].device.type != "cpu":
        return None
    return torch.cat([each.sum(1) for each in valid]) * dim
