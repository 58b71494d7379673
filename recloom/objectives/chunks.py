"""Rows of logits a chunk at a time: how many, and the memory that holds them."""

from __future__ import annotations

import threading

from torch import Tensor, is_inference_mode_enabled

LOGITS_PER_CHUNK = 1 << 22
"""Logits that exist at one time; rows are handled in chunks of this many divided by the width of a row."""

_kept = threading.local()


def kept_block(name: str, rows: int, columns: int, like: Tensor) -> Tensor:
    """A block of memory that lives on between steps: page faults are dear, and the sizes recur."""
    kept: dict[tuple[object, ...], Tensor] = _kept.__dict__.setdefault("blocks", {})
    key = (name, like.dtype, like.device, is_inference_mode_enabled())
    block = kept.get(key)
    if block is None or block.numel() < rows * columns:
        block = kept[key] = like.new_empty(rows * columns)
    return block[: rows * columns].view(rows, columns)


def chunks(n: int, width: int) -> tuple[int, int]:
    """Rows of a chunk, a multiple of 16, and how many chunks hold n rows.

    All chunks have one size and the sizes recur from batch to batch: every new shape of a bf16 product would have
    its kernel compiled anew and kept.
    """
    pieces = -(-n // max(16, LOGITS_PER_CHUNK // width))
    return -(-n // (16 * pieces)) * 16, pieces
