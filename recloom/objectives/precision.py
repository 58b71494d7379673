"""Which number format the large products of an objective use."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from recloom.errors import InputError

PRECISIONS = ("auto", "fp32", "bf16")


@cache
def processor_has_bf16() -> bool:
    """True where the processor multiplies bf16 numbers in hardware (AVX512-BF16 or AMX)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def at_least_fp32(values: torch.Tensor) -> torch.Tensor:
    """As they are, or in 32 bits: sums of exponentials, and which of many is smallest, need more than products do."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def product_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The dtype of the products; None means the states' own."""
    if precision not in PRECISIONS:
        raise InputError(f"precision={precision!r} is not known; choose one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        has = torch.cuda.is_bf16_supported() if device.type == "cuda" else processor_has_bf16()
        return torch.bfloat16 if has else None
    return torch.bfloat16 if precision == "bf16" else None
