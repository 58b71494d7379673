"""recloom learns what people will want next from what they did before."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recloom.comparison import compare
    from recloom.data.dataset import Dataset, prepare
    from recloom.data.simulate import Shop, simulate
    from recloom.errors import InputError
    from recloom.recommend.artifact import Artifact
    from recloom.run import Run, load
    from recloom.run_training import train
    from recloom.search_space import Range
    from recloom.tuning import Tuning, tune

__version__ = "0.1.0"

# Batches differ in shape, and oneDNN under torch keeps a compiled kernel for each of up to 1,024 shapes, which comes to
# gigabytes and slows every step. It reads this once, when it is first used.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

_HOMES = {
    "Artifact": "recloom.recommend.artifact",
    "Comparison": "recloom.leaderboard",
    "Dataset": "recloom.data.dataset",
    "InputError": "recloom.errors",
    "Range": "recloom.search_space",
    "Run": "recloom.run",
    "Shop": "recloom.data.simulate",
    "Tuning": "recloom.tuning",
    "compare": "recloom.comparison",
    "load": "recloom.run",
    "prepare": "recloom.data.dataset",
    "simulate": "recloom.data.simulate",
    "train": "recloom.run_training",
    "tune": "recloom.tuning",
}


def __getattr__(name: str) -> Any:
    """Import the heavy parts when they are first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'recloom' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*_HOMES, "__version__"])


__all__ = [
    "Artifact",
    "Comparison",
    "Dataset",
    "InputError",
    "Range",
    "Run",
    "Shop",
    "Tuning",
    "__version__",
    "compare",
    "load",
    "prepare",
    "simulate",
    "train",
    "tune",
]
