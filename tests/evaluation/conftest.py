"""A data set in memory, with nothing but what evaluation reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass
class Sequences:
    items: NDArray[np.int32]
    offsets: NDArray[np.int64]


@dataclass
class Part:
    users: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    target_stop: NDArray[np.int64]


@dataclass
class Split:
    valid: Part
    test: Part
    name: str = "leave-one-out"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Catalog:
    n_items: int
    train_counts: NDArray[np.int64]
    n_attributes: int = 0


@dataclass
class Data:
    sequences: Sequences
    split: Split
    catalog: Catalog

    @property
    def user_ids(self) -> NDArray[np.str_]:
        return np.array([f"user-{number}" for number in range(len(self.sequences.offsets) - 1)])

    def history(self, row: int, part: str = "test") -> list[int]:
        asked = getattr(self.split, part)
        return [int(item) for item in self.sequences.items[asked.start[row] : asked.stop[row]]]

    def whole(self, row: int) -> list[int]:
        user = self.split.test.users[row]
        return [int(x) for x in self.sequences.items[self.sequences.offsets[user] : self.sequences.offsets[user + 1]]]


MakeData = Callable[..., Data]


def build(histories: Sequence[Sequence[int]], n_items: int, targets: int = 1) -> Data:
    """Users whose last `targets` items are asked in the test part, and the ones before in the validation part."""
    lengths = np.array([len(history) for history in histories])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = np.concatenate([np.asarray(history, dtype=np.int32) for history in histories])
    end, users = offsets[1:], np.arange(len(histories))
    test = Part(users, offsets[:-1], end - targets, end)
    valid = Part(users, offsets[:-1], end - 2 * targets, end - targets)
    train = np.concatenate([np.asarray(history[: len(history) - 2 * targets], dtype=np.int64) for history in histories])
    return Data(
        Sequences(items, offsets), Split(valid, test), Catalog(n_items, np.bincount(train, minlength=n_items + 2))
    )


@pytest.fixture
def make_data() -> MakeData:
    return build


@pytest.fixture
def random_data() -> Callable[..., Data]:
    """Users of 4 to 12 actions over a catalogue; every fourth user's target is also in the history."""

    def make(n_users: int = 60, n_items: int = 50, seed: int = 0, targets: int = 1) -> Data:
        draw = np.random.default_rng(seed)
        histories = []
        for user in range(n_users):
            history = draw.permutation(n_items)[: draw.integers(4, 13) + 2 * targets] + 1
            if user % 4 == 0:
                history[0] = history[-targets]
            histories.append(history.tolist())
        return build(histories, n_items, targets)

    return make
