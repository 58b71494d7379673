from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from recloom.errors import InputError
from recloom.evaluation import Evaluation, Evaluator, bootstrap
from recloom.evaluation.intervals import bootstrap_means


def evaluation(ranks, lengths=None, counts=None, **changes) -> Evaluation:
    n_users = len(ranks)
    given = {
        "method": "pop",
        "protocol": "full-mask",
        "split": "leave-one-out",
        "part": "test",
        "k": (5, 10),
        "exact": True,
        "users": np.arange(n_users),
        "targets": np.ones(n_users, dtype=np.int64),
        "ranks": np.asarray(ranks),
        "lists": None,
        "history_lengths": np.asarray(lengths if lengths is not None else np.arange(n_users) + 3),
        "target_counts": np.asarray(counts if counts is not None else np.arange(n_users)),
        "item_counts": np.array([0, 3, 1, 0]),
    }
    return Evaluation(**{**given, **changes})


def test_metrics_are_means_per_user():
    found = evaluation([1, 3, 7, 40]).metrics()
    assert found["HR@5"] == 0.5 and found["HR@10"] == 0.75
    assert found["NDCG@5"] == pytest.approx((1 + 0.5) / 4)
    assert found["NDCG@10"] == pytest.approx((1.5 + 1 / math.log2(8)) / 4)
    assert found["MRR"] == pytest.approx((1 + 1 / 3 + 1 / 7 + 1 / 40) / 4)
    assert list(found) == ["HR@5", "HR@10", "NDCG@5", "NDCG@10", "MRR"]


def test_recall_appears_only_with_several_targets(random_data):
    single, several = random_data(n_items=60), random_data(n_items=60, targets=3)
    scores = torch.rand(60, 60, generator=torch.Generator().manual_seed(0))
    for data, expected in ((single, False), (several, True)):
        evaluator = Evaluator(data, protocol="full-open", k=(5, 30))
        evaluator.start(None, "m")
        evaluator.add_scores(np.arange(60), scores)
        result = evaluator.result()
        assert ("Recall@30" in result.metrics()) is expected
    asked = several.split.test
    slow = []
    for row in range(60):
        wanted = {int(x) for x in several.sequences.items[asked.stop[row] : asked.target_stop[row]]}
        best = torch.argsort(scores[row], descending=True)[:30] + 1
        slow.append(len(wanted & set(best.tolist())) / len(wanted))
    assert result.metrics()["Recall@30"] == pytest.approx(np.mean(slow))
    assert result.targets.tolist() == several.sequences.items[asked.stop].tolist()  # ranks are of the first


def test_bootstrap_matches_a_slow_one_and_the_formula():
    draw = np.random.default_rng(0)
    values = np.stack([draw.random(800) < 0.2, draw.normal(3, 2, 800)], 1).astype(float)
    low, high = bootstrap(values, samples=2000, seed=1)
    slow = np.array([values[draw.integers(0, 800, 800)].mean(0) for _ in range(2000)])
    error = values.std(0) / math.sqrt(800)
    for ends, side in ((low, 0.025), (high, 0.975)):
        assert np.all(np.abs(ends - np.quantile(slow, side, axis=0)) < 0.25 * error)
    assert np.all(np.abs((high - low) / (2 * 1.96 * error) - 1) < 0.1)
    narrow = bootstrap(values, level=0.5, samples=2000, seed=1)
    assert np.all(narrow[0] > low) and np.all(narrow[1] < high)


def test_bootstrap_interval_covers_a_known_mean_as_often_as_it_says():
    draw, covered = np.random.default_rng(0), 0
    for trial in range(200):
        low, high = bootstrap(draw.normal(1.0, 1.0, (200, 1)), samples=300, seed=trial)
        covered += bool(low[0] <= 1.0 <= high[0])
    assert 176 <= covered <= 200  # 190 expected; 176 lies 4.5 standard deviations below


def test_bootstrap_draws_every_user_set_with_the_same_size(monkeypatch):
    monkeypatch.setattr("recloom.evaluation.intervals.CELLS", 170)  # blocks that do not divide the samples
    means = bootstrap_means(np.ones((50, 1)), samples=100)
    assert means == pytest.approx(np.ones((100, 1)), abs=1e-12)
    values = np.random.default_rng(0).random((50, 1))
    assert np.unique(bootstrap_means(values, samples=100)).size == 100


def test_intervals_hold_every_mean_and_depend_on_the_seed_only(random_data):
    result = evaluation(np.random.default_rng(0).integers(1, 30, 500))
    first, metrics = result.intervals(samples=200), result.metrics()
    assert first == result.intervals(samples=200) != result.intervals(samples=200, seed=1)
    assert first.keys() == metrics.keys()
    assert all(low < metrics[name] < high for name, (low, high) in first.items())
    with pytest.raises(InputError, match="level"):
        result.intervals(level=95)
    with pytest.raises(InputError, match="samples"):
        result.intervals(samples=1)


def test_groups_by_quantiles_and_edges():
    result = evaluation([1, 1, 50, 2, 50, 50, 1, 50], lengths=[3, 3, 3, 4, 5, 8, 9, 30])
    by = result.by_length(2)
    assert by["group"].to_list() == ["3-4", "5-30"]
    assert by["users"].to_list() == [4, 4]
    assert by["HR@10"].to_list() == [0.75, 0.25]
    assert by["NDCG@10"][0] == pytest.approx((2 + 1 / math.log2(3)) / 4)
    assert by["grouped_by"].unique().to_list() == ["quantiles"]
    fixed = result.by_length((4, 6, 7, 20), k=1)
    assert fixed["group"].to_list() == ["<4", "4-5", "6", "7-19", "20+"]
    assert fixed["users"].to_list() == [3, 2, 0, 2, 1]
    assert fixed["HR@1"].to_list() == [2 / 3, 0, None, 0.5, 0]
    assert fixed["grouped_by"].unique().to_list() == ["edges"]
    assert result.by_length(8)["users"].sum() == 8
    assert evaluation([1, 2], lengths=[4, 4]).by_length(4)["group"].to_list() == ["4"]
    for wrong in (0, (), (5, 5)):
        with pytest.raises(InputError, match="groups"):
            result.by_length(wrong)


def test_groups_by_popularity_read_the_targets():
    result = evaluation([1, 50, 1, 50], counts=[0, 0, 100, 200])
    assert result.by_popularity((1, 150))["HR@10"].to_list() == [0.5, 1, 0]
    with pytest.raises(InputError, match="exact"):
        evaluation([1, 11], exact=False).by_popularity(2, k=20)


def test_report_is_plain_json_and_readable():
    result = evaluation(
        [1, 3, 7, 40], lists=np.array([[1, 2]] * 4, dtype=np.int32), k=(1, 2), split_options={"at": 1.5}
    )
    found = json.loads(json.dumps(result.to_dict()))
    assert found["protocol"] == "full-mask" and found["users"] == 4 and found["metrics"]["coverage@2"] == 1.0
    assert found["split_options"] == {"at": 1.5}
    assert len(found["intervals"]["HR@1"]) == 2 and "coverage@2" not in found["intervals"]
    assert "pop on test of leave-one-out, full-mask, 4 users" in repr(result)
    assert "0.2500" in repr(result) and "[" in result.table()


def test_per_user_frame():
    frame = evaluation([1, 3, 7, 40]).per_user()
    assert frame.columns[:5] == ["user", "target", "rank", "history_length", "target_count"]
    assert frame["HR@5"].to_list() == [1, 1, 0, 0]


def test_a_metric_that_is_not_there_names_the_ones_that_are():
    with pytest.raises(InputError, match="NDCG@5"):
        evaluation([1, 2]).value("NDCG@7")
