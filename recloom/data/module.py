"""Batches of like length, cut by equal numbers of targets, gathered without Python per row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recloom.data.batch import SequenceBatch, gather, latest
from recloom.data.catalog import Catalog
from recloom.data.dataset import Dataset
from recloom.data.windows import Windows, WindowsOf, whole
from recloom.errors import InputError

CHUNK = 16
"""Rows are sorted by length inside shuffled chunks of this many average batches."""

TARGETS_PER_BATCH = 1536
"""Of a batch whose size is not given: about 256 rows of short histories, some ten of long ones."""


def window_batch(items: NDArray[np.int32], windows: Windows, rows: NDArray[np.int64]) -> SequenceBatch:
    """The training batch of some windows."""
    start, stop = windows.start[rows], windows.stop[rows]
    inputs, targets = gather(items, start, stop - 1), gather(items, start + 1, stop)
    ignored = windows.first_target[rows] - start - 1
    if ignored.any():
        targets[np.arange(targets.shape[1]) < ignored[:, None]] = 0
    return SequenceBatch(*(torch.from_numpy(x) for x in (windows.users[rows], inputs, targets)))


class TrainingBatches:
    """One epoch of training batches; sized, and the same for the same seed and epoch.

    Rows are shuffled, sorted by length inside chunks (up, down, up, so that where two chunks meet long
    rows meet long ones), and cut so that every batch holds the same number of *targets*: with a fixed
    number of users a batch of short histories would weigh each of its targets many times more.

    Args:
        items: flat item array.
        windows: the rows to train on.
        batch_size: how many average rows' targets a batch holds, at least those of the two longest rows; None for so
            many that it holds `TARGETS_PER_BATCH`.
        grouping: "length" (as above) or "random" (batches of `batch_size` random rows).
        counted: what the batches hold equal numbers of: "targets"; "items", where a row's loss is the sum over its
            items; or "rows", where rows are each other's negatives.
        rank, world: this process and the number of processes; batches are dealt out in turn.
    """

    def __init__(
        self,
        items: NDArray[np.int32],
        windows: Windows,
        *,
        batch_size: int | None = 256,
        seed: int = 1,
        grouping: str = "length",
        counted: str = "targets",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not len(windows):
            raise InputError("training: no user has two actions before the held-out ones; nothing can be learnt")
        if grouping not in ("length", "random"):
            raise InputError(f"grouping={grouping!r} is not known; choose 'length' or 'random'")
        self.items, self.windows, self.seed, self.grouping = items, windows, seed, grouping
        self.rank, self.world, self.epoch = rank, world, 0
        if counted not in ("targets", "items", "rows"):
            raise InputError(f"counted={counted!r} is not known; choose 'targets', 'items' or 'rows'")
        count = {"items": windows.lengths + 1, "rows": np.ones_like(windows.users)}
        self.counts = count.get(counted, windows.n_targets)
        total = int(self.counts.sum())
        if batch_size is None:
            batch_size = max(1, round(TARGETS_PER_BATCH * len(windows) / total))
        self.batch_size = batch_size
        self.counts_per_batch = max(round(batch_size * total / len(windows)), 2 * int(self.counts.max()))
        rows = len(windows) if grouping == "random" else total
        self.n_batches = -(-rows // (batch_size if grouping == "random" else self.counts_per_batch))

    def __len__(self) -> int:
        return -(-self.n_batches // self.world)

    def cuts(self, epoch: int) -> list[NDArray[np.int64]]:
        """The rows of every batch of an epoch, in the order of training."""
        draw = np.random.default_rng((self.seed, epoch))
        order = draw.permutation(len(self.windows))
        if self.grouping == "random":
            return np.split(order, range(self.batch_size, len(order), self.batch_size))
        lengths, chunk = self.windows.lengths, CHUNK * self.batch_size
        chunks = np.split(order, range(chunk, len(order), chunk))
        order = np.concatenate([c[np.argsort(lengths[c] * (-1) ** k, kind="stable")] for k, c in enumerate(chunks)])
        total = np.cumsum(self.counts[order])
        edges = np.searchsorted(total, np.arange(1, self.n_batches) * self.counts_per_batch)
        batches = np.split(order, edges)
        return [batches[k] for k in draw.permutation(len(batches))]

    def __iter__(self) -> Iterator[SequenceBatch]:
        cuts = self.cuts(self.epoch)
        cuts = list(islice(cycle(cuts), len(self) * self.world))  # every process makes the same number of steps
        for rows in cuts[self.rank :: self.world]:
            yield window_batch(self.items, self.windows, rows)


def query_batches(
    data: Dataset, part: str, length: int, users_per_batch: int = 1024, every: int = 1
) -> Iterator[tuple[NDArray[np.int64], SequenceBatch]]:
    """The histories that an evaluation asks, or `every` so many-th of them, rows of like length together.

    Yields:
        rows: int64 indices into the arrays of `data.split.valid` or `.test`.
        batch: the latest `length` items of each of these inputs.
    """
    asked = data.split.valid if part == "valid" else data.split.test
    start = np.maximum(asked.start, asked.stop - length)
    order = np.argsort(asked.stop - start, kind="stable")[::every]
    for begin in range(0, len(order), users_per_batch):
        rows = order[begin : begin + users_per_batch]
        items = gather(data.sequences.items, start[rows], asked.stop[rows])
        yield rows, SequenceBatch(torch.from_numpy(asked.users[rows].astype(np.int64)), torch.from_numpy(items))


def whole_histories(data: Dataset, part: str, rows: NDArray[np.int64]) -> Tensor:
    """The histories behind rows of `query_batches`, `(rows, longest)`: all of them, or their latest `MOST_ITEMS`."""
    asked = data.split.valid if part == "valid" else data.split.test
    return latest(data.sequences.items, asked.start[rows], asked.stop[rows])


def corrupted(data: Dataset, share: float, seed: int) -> NDArray[np.int32]:
    """The flat item array with a share of its training actions replaced by uniform items; held-out ones stay."""
    sequences, draw = data.sequences, np.random.default_rng((seed, 1))
    training = np.flatnonzero(sequences.before(data.split.train_stop))
    hit = draw.permutation(training)
    noise = draw.integers(1, data.n_items + 1, len(hit), dtype=np.int32)
    hit, noise = hit[: round(share * len(hit))], noise[: round(share * len(hit))]
    items = np.array(sequences.items)
    items[hit] = noise
    return items


def training_catalog(data: Dataset, share: float, corrupt: float, seed: int) -> Catalog:
    """The catalog of the data, whose `train_counts` are of what `SequenceData` trains on with these numbers."""
    _, items = SequenceData(data, whole, length=1, share=share, corrupt=corrupt, draw_seed=seed).actions()
    return replace(data.catalog, train_counts=np.bincount(items, minlength=data.catalog.n_rows))


class SequenceData(L.LightningDataModule):
    """The data of one training stage, for Lightning's Trainer.

    Args:
        data: prepared data with its split.
        windows: how training histories are cut.
        length: the most inputs a row holds, and the most items a query reads.
        share: of the users whose histories are trained on, drawn by `draw_seed`.
        corrupt: share of the training actions whose item is replaced by a uniform one, drawn by `draw_seed` too; those
            of a smaller share are among those of a larger one, with the same items.

    Attributes:
        items: the flat item array that is trained on.
        train_stop: `(n_users,)`, where the training history of each user ends; at its start for those left out.
    """

    def __init__(
        self,
        data: Dataset,
        windows: WindowsOf,
        *,
        length: int,
        batch_size: int | None = 256,
        seed: int = 1,
        grouping: str = "length",
        counted: str = "targets",
        share: float = 1.0,
        corrupt: float = 0.0,
        draw_seed: int = 1,
    ) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise InputError(f"share={share} must lie above 0 and be at most 1, the share of users to train on")
        if not 0 <= corrupt <= 1:
            raise InputError(f"corrupt={corrupt} must lie in 0..1, the share of training actions to replace")
        self.data, self.length, self.batch_size, self.seed = data, length, batch_size, seed
        self.grouping, self.counted = grouping, counted
        train_stop = data.split.train_stop
        if share < 1:
            left_out = np.random.default_rng(draw_seed).permutation(data.n_users)[round(share * data.n_users) :]
            train_stop = train_stop.copy()
            train_stop[left_out] = data.sequences.offsets[:-1][left_out]
        self.train_stop = train_stop
        self.windows = windows(data.sequences, train_stop, length)
        self.items = corrupted(data, corrupt, draw_seed) if corrupt else data.sequences.items
        self.training: TrainingBatches | None = None

    def actions(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Whose and what every training action is, one after another, `(actions,)` each."""
        sequences = self.data.sequences
        kept = sequences.before(self.train_stop)
        return sequences.users[kept], self.items[kept]

    def train_dataloader(self) -> TrainingBatches:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        self.training = TrainingBatches(
            self.items,
            self.windows,
            batch_size=self.batch_size,
            seed=self.seed,
            grouping=self.grouping,
            counted=self.counted,
            rank=rank,
            world=world,
        )
        return self.training
