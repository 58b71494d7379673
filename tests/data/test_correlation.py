"""Which items go together, by a loop over users."""

import math

import numpy as np
import pytest

from recloom.data.correlation import correlated_items

HISTORIES = [[1, 2, 3], [2, 3, 3, 5], [1, 2], [4], [2, 5, 1, 3]]


def flat():
    users = np.repeat(np.arange(len(HISTORIES)), [len(history) for history in HISTORIES]).astype(np.int64)
    return users, np.concatenate(HISTORIES).astype(np.int32)


def slow():
    found = np.zeros((8, 8))
    counts = {item: sum(item in history for history in HISTORIES) for item in range(1, 7)}
    for history in HISTORIES:
        own = set(history)
        for one in own:
            for two in own - {one}:
                found[one, two] += 1 / math.log(1 + len(own)) / math.sqrt(counts[one] * counts[two])
    return found


def test_scores_by_a_loop():
    wanted = slow()
    ids, scores = correlated_items(*flat(), n_items=6, k=3)
    assert ids.shape == (8, 3)
    for item in range(8):
        order = sorted((j for j in range(8) if wanted[item, j] > 0), key=lambda j: (-wanted[item, j], j))[:3]
        assert ids[item].tolist() == order + [0] * (3 - len(order))
        assert scores[item].tolist() == pytest.approx([wanted[item, j] for j in order] + [0] * (3 - len(order)))
    assert not ids[4].any() and not ids[6].any(), "items without company, and items without actions"


def test_symmetric_and_never_oneself():
    ids, scores = correlated_items(*flat(), n_items=6, k=6)
    table = {(i, int(j)): float(s) for i in range(8) for j, s in zip(ids[i], scores[i], strict=True) if j}
    assert all(i != j and table[j, i] == pytest.approx(value) for (i, j), value in table.items())
