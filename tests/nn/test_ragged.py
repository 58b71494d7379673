"""Flat lists, by row."""

import numpy as np
import torch

from recloom.nn import Ragged


def test_gives_the_lists_of_any_rows_in_their_order():
    lists = [[], [4, 1], [7], [], [2, 3, 5]]
    ragged = Ragged(np.cumsum([0, *map(len, lists)]), np.array([4, 1, 7, 2, 3, 5], dtype=np.int32))
    rows = [4, 0, 1, 1, 3, 2]
    values, offsets = ragged(torch.tensor(rows))
    found = [part.tolist() for part in values.tensor_split(offsets[1:-1])]
    assert found == [lists[row] for row in rows]


def test_no_rows_and_no_values():
    ragged = Ragged(np.array([0, 0, 0]), np.zeros(0, dtype=np.int32))
    values, offsets = ragged(torch.tensor([1, 0]))
    assert len(values) == 0 and offsets.tolist() == [0, 0, 0]
    assert ragged(torch.zeros(0, dtype=torch.int64))[1].tolist() == [0]


def test_is_not_saved_with_the_model():
    assert not Ragged(np.array([0, 1]), np.array([3], dtype=np.int32)).state_dict()
