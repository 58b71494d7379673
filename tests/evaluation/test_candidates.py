from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import recloom.evaluation.candidates as module
from recloom.errors import InputError
from recloom.evaluation import check_candidates, get_protocol, given_candidates, sampled_candidates
from recloom.evaluation.protocols import Protocol


@pytest.mark.parametrize("protocol", ["sample-99", "pop-100"])
@pytest.mark.parametrize("part", ["valid", "test"])
def test_rows_begin_with_the_target_and_never_hold_the_history(random_data, monkeypatch, protocol, part):
    monkeypatch.setattr(module, "CELLS", 151 * 13)
    data = random_data(n_users=80, n_items=150)
    data.catalog.train_counts[1:-1] += 1
    table = sampled_candidates(data, part, protocol)
    asked = getattr(data.split, part)
    assert table.dtype == np.int32
    assert table.shape == (80, 1 + get_protocol(protocol).negatives)
    assert table[:, 0].tolist() == data.sequences.items[asked.stop].tolist()
    for row, items in enumerate(table.tolist()):
        negatives = set(items[1:])
        assert len(negatives) == len(items) - 1
        assert not negatives & set(data.whole(row))
        assert negatives <= set(range(1, 151))


@pytest.mark.parametrize("protocol", ["sample-99", "pop-100"])
def test_the_seed_decides(random_data, protocol):
    data = random_data(n_items=300)
    first = sampled_candidates(data, "test", protocol, seed=1)
    assert np.array_equal(first, sampled_candidates(data, "test", protocol, seed=1))
    assert not np.array_equal(first, sampled_candidates(data, "test", protocol, seed=2))


def test_as_many_unseen_items_as_needed_is_enough_and_one_fewer_an_error(make_data):
    exact = make_data([[1, 2, 3], [3, 1, 1]], 102)
    table = sampled_candidates(exact, "test", "sample-99")
    assert set(table[0, 1:].tolist()) == set(range(4, 103))
    assert len(set(table[1, 1:].tolist())) == 99 and not set(table[1, 1:].tolist()) & {1, 3}
    with pytest.raises(InputError, match="user user-1 has only 98 of 102"):
        sampled_candidates(make_data([[1, 2, 3], [4, 1, 2, 3]], 102), "test", "sample-99")
    with pytest.raises(InputError, match="with training actions"):
        sampled_candidates(exact, "test", "pop-100")


def test_uniform_negatives_are_uniform(make_data):
    n_users, n_items = 3000, 140
    data = make_data([[1, 2, 3, 4]] * n_users, n_items)
    table = sampled_candidates(data, "test", "sample-99")
    counts = np.bincount(table[:, 1:].ravel(), minlength=n_items + 1)
    assert counts[:5].sum() == 0
    share = 99 / (n_items - 4)
    # inclusions of one row exclude each other: the sum of squares has this exact expectation
    spread = n_users * share * (1 - share) * (n_items - 4) / (n_items - 5)
    statistic = ((counts[5:] - n_users * share) ** 2).sum() / spread
    assert stats.chi2.sf(statistic, n_items - 5) > 1e-4
    assert stats.chi2.cdf(statistic, n_items - 5) > 1e-4


@pytest.mark.parametrize("rounds", [0, 1, 6])
def test_popular_negatives_follow_successive_sampling(make_data, monkeypatch, rounds):
    """Drawing, and completing by the race, both give the distribution of one draw after the other."""
    monkeypatch.setattr(module, "ROUNDS", rounds)
    n_users, weights = 20_000, {2: 8, 3: 4, 4: 2, 5: 1, 6: 1}
    data = make_data([[1, 1, 1]] * n_users, 7)
    data.catalog.train_counts[:] = 0
    for item, weight in weights.items():
        data.catalog.train_counts[item] = weight
    data.catalog.train_counts[1] = 30  # in the history of everybody; item 7 was never trained on
    table = sampled_candidates(data, "test", Protocol("pop-2", "popularity", 2, False), seed=3)
    found: dict[tuple[int, ...], int] = {}
    for pair in np.sort(table[:, 1:], axis=1).tolist():
        found[tuple(pair)] = found.get(tuple(pair), 0) + 1
    expected: dict[tuple[int, ...], float] = {}
    total = sum(weights.values())
    for first, w in weights.items():
        for second, v in weights.items():
            if first != second:
                pair = tuple(sorted((first, second)))
                expected[pair] = expected.get(pair, 0) + n_users * w / total * v / (total - w)
    assert set(found) == set(expected)
    assert stats.chisquare([found[pair] for pair in expected], list(expected.values())).pvalue > 1e-4


def test_given_negatives_get_their_target_and_are_checked(make_data):
    data = make_data([[1, 2, 3], [2, 3, 4]], 9)
    assert given_candidates(data, "test", np.array([[5, 6], [7, 8]])).tolist() == [[3, 5, 6], [4, 7, 8]]
    for negatives, match in (
        ([[5, 6]], "2 users"),
        ([[5, 6], [7, 10]], "row 1 holds an item outside 1..9"),
        ([[0, 6], [7, 9]], "row 0 holds an item outside"),
        ([[5, 6], [7, 4]], "row 1 holds the target"),
    ):
        with pytest.raises(InputError, match=match):
            given_candidates(data, "test", np.array(negatives))
    with pytest.raises(InputError, match="row 1 does not begin"):
        check_candidates(data, "test", np.array([[3, 5], [3, 5]]))


def test_protocols_are_found_by_name():
    assert get_protocol("full-mask").mask_history and not get_protocol("full-open").mask_history
    assert get_protocol("pop-100") is get_protocol(get_protocol("pop-100"))
    with pytest.raises(InputError, match="full-mask, full-open, full-zero, sample-99, pop-100"):
        get_protocol("all")
    with pytest.raises(InputError, match="ranks all items"):
        sampled_candidates(None, "test", "full-mask")
