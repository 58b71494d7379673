from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from recloom.errors import InputError
from recloom.evaluation import Evaluation, compare_paired, holm, paired_difference


def evaluation(ranks, **changes) -> Evaluation:
    n_users = len(ranks)
    base = Evaluation(
        method="m",
        protocol="full-mask",
        split="leave-one-out",
        part="test",
        k=(5, 10),
        exact=True,
        users=np.arange(n_users),
        targets=np.arange(n_users) + 1,
        ranks=np.asarray(ranks),
        lists=None,
        history_lengths=np.full(n_users, 5),
        target_counts=np.zeros(n_users, dtype=np.int64),
        item_counts=np.zeros(n_users + 2, dtype=np.int64),
    )
    return replace(base, **changes)


def test_holm_by_hand():
    # sorted .005 .01 .03 .04 times 4 3 2 1 gives .02 .03 .06 .04; no value may fall below one before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2] and holm([]) == []


def test_paired_difference_is_the_t_test_of_many_users():
    draw = np.random.default_rng(0)
    first, second = draw.normal(0.10, 1, 5000), draw.normal(0.05, 1, 5000)
    difference, low, high, p = paired_difference(first, second)
    exact = stats.ttest_rel(first, second)
    assert difference == pytest.approx((first - second).mean())
    assert p == pytest.approx(exact.pvalue, rel=0.01)
    interval = exact.confidence_interval(0.95)
    assert (low, high) == pytest.approx((interval.low, interval.high), rel=0.01)
    assert paired_difference(first, first)[3] == 1.0
    assert paired_difference(first + 1, first)[3] < 1e-12


def test_methods_are_compared_with_a_baseline_or_in_pairs():
    draw = np.random.default_rng(0)
    base = draw.integers(1, 40, 3000)
    found = {
        "same": evaluation(base),
        "better": evaluation(np.maximum(base - 8, 1)),
        "noise": evaluation(draw.permutation(base)),
    }
    frame = compare_paired(found, "HR@10", baseline="same")
    assert frame["method"].to_list() == ["better", "noise"]
    assert frame["against"].to_list() == ["same", "same"]
    better, noise = frame.to_dicts()
    assert better["difference"] == pytest.approx(better["mean"] - better["mean_against"])
    assert better["p_holm"] < 0.001 and better["low"] > 0
    assert noise["p"] > 0.05 and noise["low"] < 0 < noise["high"]
    assert frame["p_holm"].to_list() == pytest.approx(holm(frame["p"].to_list()))
    several = compare_paired(found, "HR@10", baseline=["same", "better"])
    tested = [("better", "same"), ("noise", "same"), ("noise", "better")]
    assert list(zip(several["method"], several["against"], strict=True)) == tested
    assert several["p_holm"].to_list() == pytest.approx(holm(several["p"].to_list()))
    pairs = compare_paired(found, "NDCG@10")
    assert list(zip(pairs["method"], pairs["against"], strict=True)) == [
        ("same", "better"),
        ("same", "noise"),
        ("better", "noise"),
    ]


def test_seeds_of_one_method_count_as_their_mean():
    one, two = evaluation([1, 20, 1, 20]), evaluation([1, 1, 20, 20])
    frame = compare_paired({"a": [one, two], "b": evaluation([20, 20, 20, 1])}, "HR@10")
    assert frame["mean"].to_list() == [0.5]
    assert frame["difference"].to_list() == [pytest.approx(np.mean([1, 0.5, 0.5, -1]))]


def test_what_cannot_be_compared_is_an_input_error():
    one, other = evaluation([1, 2, 3]), evaluation([3, 2, 1])
    for changed, match in (
        (replace(other, protocol="full-open"), "protocol"),
        (replace(other, part="valid"), "part"),
        (replace(other, split="time"), "split"),
        (replace(other, seed=1), "seed"),
        (replace(other, candidates="ab"), "candidates"),
        (replace(other, targets=np.array([9, 9, 9])), "targets"),
        (evaluation([1, 2]), "users"),
    ):
        with pytest.raises(InputError, match=match):
            compare_paired({"one": one, "other": changed})
    with pytest.raises(InputError, match="two methods"):
        compare_paired({"one": one})
    assert compare_paired({"one": one, "other": other}, baseline=["one", "one"]).height == 1, "each pair once"
    with pytest.raises(InputError, match="baseline"):
        compare_paired({"one": one, "other": other}, baseline=["one", "third"])
    with pytest.raises(InputError, match="HR@5"):
        compare_paired({"one": one, "other": other}, "HR@7")
