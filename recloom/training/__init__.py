"""Backbone, method, stage, fit. Knows no paper."""

from recloom.training.backbone import Backbone
from recloom.training.evaluate import evaluate
from recloom.training.fit import TrainOptions, fit
from recloom.training.method import Method
from recloom.training.next_item import (
    NextItemPrediction,
    check_full_windows,
    next_item_loss,
    next_items_loss,
    rows_of_full_windows,
    states_before_targets,
)
from recloom.training.optimizers import MakeOptimizer, adam
from recloom.training.schedule import Schedule, WindowsSchedule, pair_protocol
from recloom.training.stage import Stage

__all__ = [
    "Backbone",
    "MakeOptimizer",
    "Method",
    "NextItemPrediction",
    "Schedule",
    "Stage",
    "TrainOptions",
    "WindowsSchedule",
    "adam",
    "check_full_windows",
    "evaluate",
    "fit",
    "next_item_loss",
    "next_items_loss",
    "pair_protocol",
    "rows_of_full_windows",
    "states_before_targets",
]
