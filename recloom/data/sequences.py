"""Every user's actions in one flat array, and how they are split into training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recloom.errors import InputError

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Sequences:
    """Histories of all users.

    Args:
        items: `(n_actions,)` int32 item indices, user by user, oldest first.
        offsets: `(n_users + 1,)` int64; user u owns `items[offsets[u]:offsets[u + 1]]`.
        times: `(n_actions,)` int64 or float64, or None where the log has none.
    """

    items: NDArray[np.int32]
    offsets: Int
    times: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int:
        """Actions of each user."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Part:
    """The users an evaluation asks, and what: all int64 `(n,)`, positions in the flat array.

    Args:
        users: which users.
        start, stop: the input is `items[start:stop]`, the user's whole history so far.
        target_stop: the targets are `items[stop:target_stop]`; the first is the next item.
    """

    users: Int
    start: Int
    stop: Int
    target_stop: Int

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Split:
    """Which actions train, and which validate and test.

    Args:
        name: "leave-one-out" or "time".
        options: what the split was made with.
        train_stop: `(n_users,)`; user u trains on `items[offsets[u]:train_stop[u]]`.
        valid, test: what is asked.
        without_target: users that validation and test do not ask, by part.
    """

    name: str
    options: dict[str, Any]
    train_stop: Int
    valid: Part
    test: Part
    without_target: dict[str, int] = field(default_factory=dict)


def leave_one_out(sequences: Sequences) -> Split:
    """The last action is the test target, the last but one the validation target; both inputs are all before.

    Users of fewer than three actions train on all of them and are not asked. Not free of leaks: one
    user's training actions may be later than another's test action. `by_time` is.
    """
    begin, end = sequences.offsets[:-1], sequences.offsets[1:]
    asked = np.flatnonzero(end - begin >= 3)
    train_stop = np.where(end - begin >= 3, end - 2, end)
    valid = Part(asked, begin[asked], end[asked] - 2, end[asked] - 1)
    test = Part(asked, begin[asked], end[asked] - 1, end[asked])
    short = len(sequences) - len(asked)
    return Split("leave-one-out", {}, train_stop, valid, test, {"valid": short, "test": short})


def by_time(sequences: Sequences, *, valid_at: Any = 0.8, test_at: Any = 0.9) -> Split:
    """One cut for everybody: training before `valid_at`, validation up to `test_at`, test from there on.

    Args:
        valid_at, test_at: a share of all actions (a float between 0 and 1), a time in the log's own
            unit, or an ISO date where the log's times are dates.

    Users who have no action before a cut, or none in the period after it, are not asked; they are counted.
    """
    if sequences.times is None:
        raise InputError("split='time' needs a time for every action, and this log has none; use 'leave-one-out'")
    times = sequences.times
    cuts = [_cut(times, name, value) for name, value in (("valid_at", valid_at), ("test_at", test_at))]
    if cuts[0] >= cuts[1]:
        raise InputError(f"split='time': valid_at={valid_at!r} must lie before test_at={test_at!r}")
    valid_begin, test_begin = (_first_at(sequences, cut) for cut in cuts)
    begin, end = sequences.offsets[:-1], sequences.offsets[1:]
    parts, without = [], {}
    for name, stop, target_stop in (("valid", valid_begin, test_begin), ("test", test_begin, end)):
        asked = np.flatnonzero((stop > begin) & (target_stop > stop))
        parts.append(Part(asked, begin[asked], stop[asked], target_stop[asked]))
        without[name] = len(sequences) - len(asked)
        if not len(asked):
            raise InputError(f"split='time': no user has actions both before {name}_at and in the {name} period")
    options = {"valid_at": valid_at, "test_at": test_at, "valid_time": cuts[0], "test_time": cuts[1]}
    return Split("time", options, valid_begin, parts[0], parts[1], without)


def _cut(times: NDArray[Any], name: str, value: Any) -> float | int:
    """A share, a time or an ISO date as a time of the log."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise InputError(f"{name}={value!r} is neither a number nor an ISO date such as 2024-03-01") from None
        seconds = (moment.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()
        return int(seconds * _units_per_second(times))
    if isinstance(value, float) and 0 < value < 1:
        place = min(int(value * len(times)), len(times) - 1)
        return np.partition(times, place)[place].item()  # type: ignore[no-any-return]
    return value  # type: ignore[no-any-return]


def _units_per_second(times: NDArray[Any]) -> int:
    """1 for unix seconds, 1000 for milliseconds, and so on, by the size of the latest time."""
    return next((unit for unit in (1, 10**3, 10**6) if times.max() < 2e10 * unit), 10**9)


def _first_at(sequences: Sequences, cut: float | int) -> Int:
    """For each user the position of the first action at or after a time."""
    assert sequences.times is not None
    before = np.concatenate([[0], np.cumsum(sequences.times < cut)])
    return sequences.offsets[:-1] + before[sequences.offsets[1:]] - before[sequences.offsets[:-1]]


SPLITS = {"leave-one-out": leave_one_out, "time": by_time}


def make_split(name: str, sequences: Sequences, **options: Any) -> Split:
    """A split by name."""
    if name not in SPLITS:
        raise InputError(f"split={name!r} is not known; choose one of {', '.join(SPLITS)}")
    return by_time(sequences, **options) if name == "time" else leave_one_out(sequences)
