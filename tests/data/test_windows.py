"""Which slices become samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloom.data.sequences import Sequences
from recloom.data.windows import get_windows, prefixes, sliding, whole
from recloom.errors import InputError


def histories(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = np.arange(1, offsets[-1] + 1, dtype=np.int32)
    return Sequences(items, offsets, None), offsets[1:] - 1  # the last action is held out


def targets(windows):
    return [t for first, stop in zip(windows.first_target, windows.stop, strict=True) for t in range(first, stop)]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(2, 9))
def test_every_target_is_asked_once_and_no_held_out_item_is_touched(lengths, length):
    sequences, train_stop = histories(lengths)
    wanted = [t for begin, stop in zip(sequences.offsets[:-1], train_stop, strict=True) for t in range(begin + 1, stop)]
    for cut in (prefixes, sliding):
        windows = cut(sequences, train_stop, length)
        assert sorted(targets(windows)) == wanted
        assert (windows.lengths <= length).all() and (windows.lengths >= 1).all()
        assert (windows.stop <= train_stop[windows.users]).all()
        assert (windows.start >= sequences.offsets[:-1][windows.users]).all()
        assert (windows.first_target > windows.start).all()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(2, 9))
def test_whole_keeps_the_latest_inputs(lengths, length):
    sequences, train_stop = histories(lengths)
    windows = whole(sequences, train_stop, length)
    for row, user in enumerate(windows.users):
        begin, stop = sequences.offsets[user], train_stop[user]
        assert windows.stop[row] == stop
        assert windows.lengths[row] == min(length, stop - begin - 1)
        assert windows.first_target[row] == windows.start[row] + 1
    assert len(windows) == int((train_stop - sequences.offsets[:-1] >= 2).sum())


def test_sliding_gives_every_target_enough_past():
    sequences, train_stop = histories([41])
    windows = sliding(sequences, train_stop, 10, step=4)
    past = windows.first_target - windows.start
    assert (past[:-1] >= 10 - 4 + 1).all(), "only the earliest row may start without a past"


def test_unknown_ways_and_steps_are_refused():
    with pytest.raises(InputError, match="prefixes"):
        get_windows("prefix")
    with pytest.raises(InputError, match="step"):
        get_windows("whole", step=3)
    with pytest.raises(InputError, match="step"):
        sliding(*histories([5]), 4, step=9)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(2, 9))
def test_prefixes_of_the_latest_items_are_those_of_shorter_histories(lengths, length):
    sequences, train_stop = histories(lengths)
    windows = prefixes(sequences, train_stop, length - 1, latest=length)
    for user, (begin, stop) in enumerate(zip(sequences.offsets[:-1], train_stop, strict=True)):
        rows = windows.users == user
        first = max(begin, stop - length)
        assert windows.first_target[rows].tolist() == list(range(first + 1, stop))
        assert (windows.start[rows] == first).all()
