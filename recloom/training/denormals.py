"""Numbers too small for a processor's fast path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

SMALLEST = torch.finfo(torch.float32).tiny
"""The smallest normal number; what lies between it and 0 is denormal."""


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Count denormal results as 0 within the block, where the processor can.

    Weight decay drives unused weights towards 0 without end, and a product of denormal numbers takes a CPU hundreds of
    times longer. The setting is of a thread, and threads that start later inherit it: enter the block before the first
    heavy use of torch in a process, or its worker threads go on slowly. Its own thread is as it was afterwards.
    """
    was = bool(torch.tensor(SMALLEST) / 2 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was)


def without_denormals(values: Tensor) -> Tensor:
    """The same values, with 0 for those that are denormal."""
    return values.masked_fill(values.abs() < SMALLEST, 0) if values.is_floating_point() else values
