from __future__ import annotations

import math

import numpy as np
import pytest

from recloom.errors import InputError
from recloom.evaluation import coverage, cut_offs, hit_rate, mean_popularity, mrr, ndcg, novelty, recall


def test_metrics_of_ranks_equal_their_definitions():
    ranks = np.array([1, 2, 3, 10, 11, 500])
    assert hit_rate(ranks, 10).tolist() == [1, 1, 1, 1, 0, 0]
    expected = [1, 1 / math.log2(3), 1 / math.log2(4), 1 / math.log2(11), 0, 0]
    assert ndcg(ranks, 10) == pytest.approx(expected)
    assert mrr(ranks) == pytest.approx([1 / rank for rank in ranks.tolist()])


def test_recall_equals_a_loop_over_sets(monkeypatch):
    monkeypatch.setattr("recloom.evaluation.metrics.LIST_CELLS", 40)
    draw = np.random.default_rng(0)
    lists = np.stack([draw.permutation(30)[:10] + 1 for _ in range(25)]).astype(np.int32)
    lists[3, 6:] = 0
    targets = [draw.integers(1, 35, draw.integers(1, 9)).tolist() for _ in range(25)]  # with repeats
    rows = np.repeat(np.arange(25), [len(some) for some in targets])
    found = recall(lists, rows, np.concatenate(targets), (3, 10))
    for k in (3, 10):
        slow = [len(set(lists[u, :k].tolist()) & set(targets[u])) / len(set(targets[u])) for u in range(25)]
        assert found[k] == pytest.approx(slow)
    assert 0 < found[3].mean() < found[10].mean() < 1


def test_list_metrics_by_hand():
    lists = np.array([[1, 2], [1, 0], [0, 0]], dtype=np.int32)
    counts = np.array([0, 6, 2, 0, 0])  # three items
    assert coverage(lists, 3, 2) == pytest.approx(2 / 3)
    assert coverage(lists, 3, 1) == pytest.approx(1 / 3)
    assert mean_popularity(lists, counts, 2).tolist() == [4, 6, 0]
    assert novelty(lists, counts, 2) == pytest.approx([(math.log2(8 / 6) + 2) / 2, math.log2(8 / 6), 0])
    assert novelty(np.array([[3]], dtype=np.int32), counts, 1) == pytest.approx([3.0])  # never trained on: as one


def test_one_cut_off_or_several():
    assert cut_offs(10) == (10,) and cut_offs([20, 5, 5]) == (5, 20)
    for wrong in (0, 5.7, [], [5, 0], "5"):
        with pytest.raises(InputError, match="whole numbers from 1 on"):
            cut_offs(wrong)
