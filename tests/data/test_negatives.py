"""Negatives: never of the row, uniform otherwise."""

import numpy as np
import pytest
import torch

from recloom.data.negatives import PopularityNegatives, uniform_outside
from recloom.errors import InputError


def test_negatives_avoid_their_row_and_are_uniform_over_the_rest():
    rows = torch.tensor([[1, 2, 3, 0], [4, 4, 4, 4]])
    drawn = uniform_outside(rows, (2, 5000, 4), 20, torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 5000, 4) and drawn.min() >= 1 and drawn.max() <= 20
    for row, own in enumerate(([1, 2, 3], [4])):
        counts = np.bincount(drawn[row].flatten().numpy(), minlength=21)
        assert not counts[own].any()
        others = np.delete(counts[1:], np.array(own) - 1)
        np.testing.assert_allclose(others / others.sum(), 1 / len(others), atol=0.006)


@pytest.mark.parametrize("alpha", [0.0, 0.75, 1.0])
def test_popular_items_are_drawn_by_a_power_of_their_counts(alpha):
    counts = torch.tensor([0, 1, 10, 0, 100, 4, 0])
    drawn = PopularityNegatives(counts, alpha).draw(40_000, torch.Generator().manual_seed(0))
    weights = np.where(counts > 0, counts.numpy() ** alpha, 0.0)
    found = np.bincount(drawn.numpy(), minlength=len(counts)) / len(drawn)
    np.testing.assert_allclose(found, weights / weights.sum(), atol=0.01)
    assert not found[[0, 3, 6]].any()


def test_a_row_that_holds_everything_is_an_error():
    rows = torch.arange(1, 6)[None]
    with pytest.raises(InputError, match="all 5 items"):
        uniform_outside(rows, (1, 10), 5, torch.Generator())
    assert (uniform_outside(rows[:, :4], (1, 10), 5, torch.Generator()) == 5).all()
