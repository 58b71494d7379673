"""The numbers of a training schedule that most methods share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recloom.data.windows import WindowsOf, get_windows, whole
from recloom.errors import InputError
from recloom.nn.seen_items import SeenItems
from recloom.training.method import Method
from recloom.training.optimizers import MakeOptimizer, adam
from recloom.training.stage import Stage


def pair_protocol(n_items: int) -> str:
    """Of validation where every pair of a user and an item is scored by itself: sampled, unless there are few items."""
    return "sample-99" if n_items > 1000 else "full-mask"


@dataclass(frozen=True)
class Schedule:
    """Adam and a stage; see `adam`, and `Stage` for what is not said here.

    Args:
        lr: step size of Adam.
        weight_decay: of Adam, the coupled L2 term of the published methods, added to the gradient.
        valid_metric: the metric on validation that selects the weights and stops early: HR or NDCG @5, @10 or @20, MRR,
            or "any3": HR@5, NDCG@5 and HR@10, any of which may rise, as in MMInfoRec's code.
        valid_protocol: its protocol; the method's own if None, which is full-mask where it ranks all items.
        seen_items: terms for the items that a history holds already, fitted on validation once the weights are
            selected; the method learns nothing of them.
    """

    lr: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int | None = 256
    epochs: int = 100
    patience: int = 10
    valid_metric: str = "NDCG@10"
    valid_protocol: str | None = None
    averaging: float = 0.0
    seen_items: bool = False

    def optimizer(self) -> MakeOptimizer:
        """Adam at this rate and decay."""
        return adam(self.lr, self.weight_decay)

    def stage(self, method: Method, windows: WindowsOf = whole, **options: Any) -> Stage:
        """A stage of the method; `options` are further ones of `Stage`."""
        if self.valid_protocol is not None:
            options["protocol"] = self.valid_protocol
        if self.seen_items:
            if method.ranks_by != "vectors":
                raise InputError(
                    f"seen_items=true needs a method that ranks by vectors; {type(method).__name__} scores pairs"
                )
            method.seen_items = SeenItems(method.length)
        return Stage(
            method,
            self.epochs,
            windows,
            self.batch_size,
            monitor=self.valid_metric,
            patience=self.patience,
            averaging=self.averaging,
            **options,
        )


@dataclass(frozen=True)
class WindowsSchedule(Schedule):
    """A schedule that also says how training histories become rows and rows batches; see `Stage`.

    Args:
        windows: what is a row: "whole" (the latest `length` targets of a history), "prefixes" (one target a row, all
            before it) or "sliding" (all targets of a history, in overlapping rows where it is long).
    """

    windows: str = "whole"
    grouping: str = "length"

    def stage(self, method: Method, windows: WindowsOf | None = None, **options: Any) -> Stage:
        return super().stage(method, windows or get_windows(self.windows), grouping=self.grouping, **options)
