"""What each split learns from, asks, and leaves out."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloom.data.sequences import Sequences, by_time, leave_one_out, places_of
from recloom.errors import InputError


def sequences(lengths, times=None):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(np.arange(1, offsets[-1] + 1, dtype=np.int32), offsets, times)


def asked(data, part):
    """user -> (input items, target items)."""
    rows = zip(part.users, part.start, part.stop, part.target_stop, strict=True)
    return {int(u): (data.items[a:b].tolist(), data.items[b:c].tolist()) for u, a, b, c in rows}


def trained(data, split):
    return [data.items[a:b].tolist() for a, b in zip(data.offsets[:-1], split.train_stop, strict=True)]


def test_leave_one_out_by_hand():
    data = sequences([4, 2, 3, 1])
    split = leave_one_out(data)
    assert trained(data, split) == [[1, 2], [5, 6], [7], [10]]
    assert asked(data, split.valid) == {0: ([1, 2], [3]), 2: ([7], [8])}
    assert asked(data, split.test) == {0: ([1, 2, 3], [4]), 2: ([7, 8], [9])}
    assert split.without_target == {"fewer_than_3_actions": 2}
    assert len(data) == 4 and data.lengths.tolist() == [4, 2, 3, 1]
    assert data.offsets[-1] == 10, "the split must not change the offsets"


def test_leave_one_out_needs_somebody_to_ask():
    with pytest.raises(InputError, match="no user has three actions"):
        leave_one_out(sequences([2, 2]))


TIMES = np.array([0, 10, 20, 30, 40, 0, 5, 35, 38, 39, 31, 32])
USERS = [5, 2, 3, 2]


def test_by_time_by_hand():
    data = sequences(USERS, TIMES)
    split = by_time(data, valid_at=20, test_at=35)
    assert trained(data, split) == [[1, 2], [6, 7], [], []]
    assert asked(data, split.valid) == {0: ([1, 2], [3, 4])}
    assert asked(data, split.test) == {0: ([1, 2, 3, 4], [5])}
    assert split.without_target == {
        "valid_no_action": 2, "valid_no_history": 1, "test_no_action": 2, "test_no_history": 1,
    }  # fmt: skip
    assert split.options == {"valid_at": 20, "test_at": 35, "valid_cut": 20, "test_cut": 35}


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=12), min_size=1, max_size=12),
    st.integers(0, 50),
    st.integers(0, 50),
)
def test_by_time_never_looks_ahead(histories, one, two):
    times = np.concatenate([np.sort(row) for row in histories])
    data = sequences([len(row) for row in histories], times)
    try:
        split = by_time(data, valid_at=one, test_at=two)
    except InputError:
        return
    assert one < two
    learnt = [t for a, b in zip(data.offsets[:-1], split.train_stop, strict=True) for t in times[a:b]]
    assert sorted(learnt) == sorted(times[times < one])
    for part, low, high in ((split.valid, one, two), (split.test, two, 51)):
        for user, start, stop, target_stop in zip(part.users, part.start, part.stop, part.target_stop, strict=True):
            own = times[data.offsets[user] : data.offsets[user + 1]]
            assert start == data.offsets[user] and stop - start == (own < low).sum() > 0
            assert target_stop - stop == ((own >= low) & (own < high)).sum() > 0
    for part, name in ((split.valid, "valid"), (split.test, "test")):
        left_out = split.without_target[f"{name}_no_action"] + split.without_target[f"{name}_no_history"]
        assert len(part) + left_out == len(data)


def test_a_share_counts_actions():
    times = np.arange(100).repeat(2)[np.random.default_rng(0).permutation(200)]
    data = sequences([10] * 20, np.sort(times.reshape(20, 10), axis=1).ravel())
    split = by_time(data, valid_at=0.7, test_at=0.85)
    assert (data.times < split.options["valid_cut"]).sum() == 140
    assert (data.times < split.options["test_cut"]).sum() == 170


@pytest.mark.parametrize("per_second", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize(
    "at", ["2024-03-01", "2024-03-01T00:00:00Z", "2024-03-01T02:00+02:00", dt.date(2024, 3, 1), dt.datetime(2024, 3, 1)]
)
def test_cuts_may_be_dates(per_second, at):
    start = int(dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp())
    times = np.tile(start + np.arange(0, 120, 12) * 86400, 3) * per_second
    split = by_time(sequences([10] * 3, times), valid_at=at, test_at="2024-04-01")
    assert (times < split.options["valid_cut"]).sum() == 3 * 5
    assert split.options["valid_cut"] == (start + 60 * 86400) * per_second


@pytest.mark.parametrize(
    ("times", "options", "message"),
    [
        (None, {}, "needs times"),
        (np.array([0, 1, 2, 3, 4, 0, 1, 0, 1, 2, 0, 1]), {}, "positions"),
        (TIMES, {"valid_at": 35, "test_at": 20}, "must be before"),
        (TIMES, {"valid_at": 20, "test_at": 20}, "must be before"),
        (TIMES, {"valid_at": 0}, "valid_at=0"),
        (TIMES, {"test_at": 41}, "times go from 0 to 40"),
        (TIMES, {"test_at": "2024-01-01"}, "does not cut the data"),
        (TIMES, {"valid_at": "soon"}, "'soon' is no time"),
        (TIMES, {"valid_at": True}, "True is no share"),
        (TIMES, {"valid_at": None}, "None is no share"),
        (TIMES, {"valid_at": 1, "test_at": 2}, "no user has actions"),
    ],
)
def test_bad_cuts_are_refused(times, options, message):
    with pytest.raises(InputError, match=message):
        by_time(sequences(USERS, times), **options)


def test_places_of_slices_by_a_loop():
    start, lengths = np.array([3, 7, 0]), np.array([2, 0, 3])
    assert places_of(start, lengths).tolist() == [
        begin + at for begin, n in zip(start, lengths, strict=True) for at in range(n)
    ]
    assert not len(places_of(start[:0], lengths[:0]))
