"""States to a scalar."""

from recloom.objectives.next_item import (
    NextItem,
    bayesian_personalised_ranking,
    binary_cross_entropy,
    generalised_binary_cross_entropy,
    in_batch_softmax,
    sampled_softmax,
)
from recloom.objectives.softmax import full_softmax

__all__ = [
    "NextItem",
    "bayesian_personalised_ranking",
    "binary_cross_entropy",
    "full_softmax",
    "generalised_binary_cross_entropy",
    "in_batch_softmax",
    "sampled_softmax",
]
