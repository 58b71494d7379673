"""One vector for a row, three ways."""

import pytest
import torch

from recloom.errors import InputError
from recloom.nn.row_vectors import row_vectors


def test_last_mean_and_flat():
    states = torch.tensor([[[1.0, 2], [3, 4], [5, 6]], [[7, 8], [9, 9], [9, 9]]])
    valid = torch.tensor([[True, True, True], [True, False, False]])
    assert row_vectors(states, valid, "last", 4).tolist() == [[5, 6], [7, 8]]
    assert row_vectors(states, valid, "mean", 4).tolist() == [[3, 4], [7, 8]]
    assert row_vectors(states, valid, "flat", 4).tolist() == [[0, 0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0, 7, 8]]
    with pytest.raises(InputError, match="contrast_on='sum'"):
        row_vectors(states, valid, "sum", 4)
