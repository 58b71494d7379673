"""Dropout whose random draws cost little on a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 1 << 16


def dropout(values: Tensor, rate: float, training: bool) -> Tensor:
    """Zero each value with probability `rate` (to 1 / 65,536) and divide the rest by `1 - rate`.

    torch's own takes one draw a value from a serial generator, which on a CPU costs as much as a matrix product; here
    one 64-bit draw of the same generator serves four values. Elsewhere torch's is used.
    """
    if not training or rate == 0:
        return values
    if values.device.type != "cpu":
        return F.dropout(values, rate, True)
    n = values.numel()
    draws = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = draws.view(torch.int16)[:n].view(values.shape) >= round(rate * LEVELS) - LEVELS // 2
    return values * kept.to(values.dtype).mul_(1 / (1 - rate))
