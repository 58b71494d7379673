"""A stage of training: a method and how it is trained. `fit` runs a list of them."""

from __future__ import annotations

from dataclasses import dataclass

from recloom.data.windows import WindowsOf, whole
from recloom.errors import InputError
from recloom.evaluation import get_protocol
from recloom.training.method import Method

ANY3 = ("HR@5", "NDCG@5", "HR@10")
"""The three of which any may rise for an epoch to count as better, where "any3" selects the weights."""

MONITORS = (*(f"{name}@{k}" for name in ("HR", "NDCG") for k in (5, 10, 20)), "MRR", "any3")
"""Metrics that may select the weights, and the rule of MMInfoRec's code."""


@dataclass
class Stage:
    """One method and its schedule.

    Args:
        method: what is trained; stages may share a backbone.
        epochs: the most epochs; 0 for methods that only count.
        windows: how training histories are cut into rows.
        batch_size: how many average rows' targets a batch holds, at least those of two rows as long as the longest;
            None for about 1,536 targets, however long rows are.
        grouping: "length" (rows of like length, equal targets a batch) or "random".
        counted: what batches of like length hold equal numbers of, "targets", "items" or "rows".
        monitor: validation metric, one of `MONITORS`, that selects the epoch kept and stops early; None keeps the last
            epoch. "any3" keeps the last epoch in which one of `ANY3` was above its value in the epoch kept before.
        protocol: of that metric.
        patience: epochs without a better value before training stops.
        gradient_clip: largest norm of the gradient; None for no clipping.
        averaging: the weights that are validated and kept are the running mean `a * mean + (1 - a) * weights` over the
            steps, with a smaller at the start; 0 for the weights themselves.
        name: of the stage, in logs and files.
    """

    method: Method
    epochs: int
    windows: WindowsOf = whole
    batch_size: int | None = 256
    grouping: str = "length"
    counted: str = "targets"
    monitor: str | None = "NDCG@10"
    protocol: str = "full-mask"
    patience: int = 10
    gradient_clip: float | None = None
    averaging: float = 0.0
    name: str = "train"

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0), ("batch_size", 1), ("patience", 1)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= least):
                raise InputError(f"{name}={value!r} must be a whole number, at least {least}")
        if self.monitor is not None and self.monitor not in MONITORS:
            raise InputError(f"valid_metric={self.monitor!r} is not known; choose one of {', '.join(MONITORS)}")
        get_protocol(self.protocol)
        if not 0 <= self.averaging < 1:
            raise InputError(f"averaging={self.averaging} must be at least 0 and below 1")
