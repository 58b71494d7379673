"""Raw log to sequences to batches."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recloom.data.batch import SequenceBatch
    from recloom.data.catalog import PAD, Catalog
    from recloom.data.dataset import Dataset, prepare
    from recloom.data.module import SequenceData
    from recloom.data.sequences import Sequences, Split
    from recloom.data.simulate import Shop, simulate

_HOMES = {
    "Catalog": "catalog",
    "Dataset": "dataset",
    "PAD": "catalog",
    "SequenceBatch": "batch",
    "SequenceData": "module",
    "Sequences": "sequences",
    "Shop": "simulate",
    "Split": "sequences",
    "prepare": "dataset",
    "simulate": "simulate",
}


def __getattr__(name: str) -> Any:
    """Import torch only when a part needs it: preparing a log does not."""
    if name not in _HOMES:
        raise AttributeError(f"module 'recloom.data' has no attribute {name!r}")
    return getattr(importlib.import_module(f"recloom.data.{_HOMES[name]}"), name)


__all__ = [
    "PAD",
    "Catalog",
    "Dataset",
    "SequenceBatch",
    "SequenceData",
    "Sequences",
    "Shop",
    "Split",
    "prepare",
    "simulate",
]
