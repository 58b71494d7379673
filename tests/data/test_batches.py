"""Batches: what is in them, how they are cut, and that they repeat."""

import numpy as np
import pytest
import torch

from recloom.data.batch import SequenceBatch, gather, history_batch
from recloom.data.module import TARGETS_PER_BATCH, TrainingBatches, window_batch
from recloom.data.sequences import Sequences
from recloom.data.windows import prefixes, sliding, whole
from recloom.errors import InputError


@pytest.fixture(scope="module")
def sequences():
    draw = np.random.default_rng(0)
    lengths = np.minimum(3 + draw.geometric(0.15, 2000), 60)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(draw.integers(1, 500, offsets[-1]).astype(np.int32), offsets, None)


def batches(sequences, cut=whole, **options):
    windows = cut(sequences, sequences.offsets[1:] - 2, 20)
    return TrainingBatches(sequences.items, windows, **{"batch_size": 64, "seed": 3, **options})


def test_a_row_holds_its_slice_and_the_items_that_follow(sequences):
    made = batches(sequences)
    rows = np.array([5, 80, 3])
    batch = window_batch(sequences.items, made.windows, rows)
    for row, window in enumerate(rows):
        start, stop = made.windows.start[window], made.windows.stop[window]
        n = stop - start - 1
        assert batch.items[row, :n].tolist() == sequences.items[start : stop - 1].tolist()
        assert batch.targets[row, :n].tolist() == sequences.items[start + 1 : stop].tolist()
        assert not batch.items[row, n:].any() and not batch.targets[row, n:].any()
    assert batch.items.shape[1] == made.windows.lengths[rows].max()


@pytest.mark.parametrize("cut", [whole, prefixes, sliding])
@pytest.mark.parametrize("grouping", ["length", "random"])
def test_an_epoch_asks_every_target_once(sequences, cut, grouping):
    made = batches(sequences, cut, grouping=grouping)
    drawn = list(made)
    assert len(drawn) == len(made)
    asked = np.concatenate([batch.targets[batch.targets > 0].numpy() for batch in drawn])
    assert len(asked) == int(made.counts.sum())
    windows = made.windows
    wanted = np.concatenate([sequences.items[a:b] for a, b in zip(windows.first_target, windows.stop, strict=True)])
    np.testing.assert_array_equal(np.sort(asked), np.sort(wanted))


def test_batches_hold_equal_numbers_of_targets_and_rows_of_like_length(sequences):
    made = batches(sequences)
    drawn = list(made)
    counts = np.array([(batch.targets > 0).sum() for batch in drawn])
    longest = made.windows.n_targets.max()
    assert np.sort(counts)[1:].min() >= made.counts_per_batch - longest, "all but the last remainder are full"
    assert counts.max() <= made.counts_per_batch + longest
    padding = 1 - sum(int(b.valid.sum()) for b in drawn) / sum(b.items.numel() for b in drawn)
    loose = list(batches(sequences, grouping="random"))
    assert padding < 0.25 < 1 - sum(int(b.valid.sum()) for b in loose) / sum(b.items.numel() for b in loose)


@pytest.mark.parametrize("length", [20, 5])
def test_without_a_size_batches_hold_as_many_targets_whatever_the_length_of_rows(sequences, length):
    windows = whole(sequences, sequences.offsets[1:] - 2, length)
    made = TrainingBatches(sequences.items, windows, batch_size=None)
    counts = [int((batch.targets > 0).sum()) for batch in made]
    assert np.sort(counts)[1:].min() > 0.95 * TARGETS_PER_BATCH and max(counts) < 1.05 * TARGETS_PER_BATCH


def test_batches_of_prefixes_may_hold_equal_numbers_of_items(sequences):
    made = batches(sequences, prefixes, counted="items", batch_size=8)
    items = np.array([int(batch.whole().count_nonzero()) for batch in made])
    longest = int(made.windows.lengths.max()) + 1
    assert items.sum() == (made.windows.lengths + 1).sum()
    assert np.sort(items)[1:].min() >= made.counts_per_batch - longest
    assert items.max() <= made.counts_per_batch + longest


def test_epochs_differ_and_repeat(sequences):
    made, again, other = batches(sequences), batches(sequences), batches(sequences, seed=4)
    first = made.cuts(0)
    assert all(np.array_equal(a, b) for a, b in zip(first, again.cuts(0), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, made.cuts(1), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other.cuts(0), strict=True))


@pytest.mark.parametrize("world", [3, 200])
def test_processes_share_the_batches_and_take_equally_many(sequences, world):
    parts = [batches(sequences, rank=rank, world=world) for rank in range(world)]
    drawn = [list(part) for part in parts]
    assert len({len(part) for part in drawn}) == 1 and len(drawn[0]) == len(parts[0])
    users = np.concatenate([batch.users.numpy() for part in drawn for batch in part])
    assert set(users) == set(batches(sequences).windows.users)


def test_nothing_to_learn_is_said(sequences):
    with pytest.raises(InputError, match="nothing can be learnt"):
        TrainingBatches(sequences.items, whole(sequences, sequences.offsets[:-1] + 1, 20))
    with pytest.raises(InputError, match="grouping"):
        batches(sequences, grouping="sorted")


def test_last_targets_follow_the_last_real_items():
    batch = SequenceBatch(torch.arange(2), torch.tensor([[5, 6, 7], [8, 0, 0]]), torch.tensor([[6, 7, 4], [9, 0, 0]]))
    assert batch.last_targets.tolist() == [4, 9]
    assert batch.lengths.tolist() == [3, 1]


def test_histories_keep_their_latest_items():
    batch = history_batch([np.array([1, 2, 3, 4]), np.array([9])], length=3)
    assert batch.items.tolist() == [[2, 3, 4], [9, 0, 0]] and batch.users.tolist() == [-1, -1]


def test_gather_reads_no_neighbour():
    items = np.arange(1, 11, dtype=np.int32)
    assert gather(items, np.array([0, 8]), np.array([3, 10])).tolist() == [[1, 2, 3], [9, 10, 0]]
