"""How unlike the items of a list are, by a loop over pairs."""

from itertools import combinations

import numpy as np
import pytest

import recloom
from recloom.errors import InputError
from recloom.evaluation.metrics import list_distance

SETS = [set(), {1, 2, 3}, {2, 3}, {9}, set(), {1, 2, 3}]


def test_the_mean_over_pairs_by_a_loop(monkeypatch):
    monkeypatch.setattr("recloom.evaluation.metrics.PAIRS_AT_ONCE", 3)
    offsets = np.cumsum([0, *map(len, SETS)])
    values = np.array([value for items in SETS for value in sorted(items)], dtype=np.int32)
    lists = np.array([[1, 2, 3, 5], [5, 1, 4, 0], [3, 0, 0, 0], [2, 2, 4, 1]], dtype=np.int32)
    for k in (2, 3, 4):
        wanted = []
        for row in lists:
            pairs = [(SETS[a], SETS[b]) for a, b in combinations([i for i in row[:k] if i], 2)]
            wanted.append(np.mean([1 - len(a & b) / max(len(a | b), 1) for a, b in pairs]) if pairs else 0)
        assert list_distance(lists, offsets, values, k).tolist() == pytest.approx(wanted)


def test_an_evaluation_knows_it_where_items_have_attributes(cycle, cycle_with_attributes):
    found = recloom.train("pop", cycle_with_attributes).evaluate()
    assert 0 < found.distance(5) <= 1
    with pytest.raises(InputError, match="distance@30"):
        found.distance(30)
    with pytest.raises(InputError, match="items with attributes"):
        recloom.train("pop", cycle).evaluate().distance()
