"""Every user's actions in order, in one flat array, and how they are split."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recloom.data.times import moment
from recloom.errors import InputError

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sequences:
    """User `u` did `items[offsets[u]:offsets[u + 1]]`, oldest first.

    Args:
        items: `(n_actions,)` int32 item indices 1..n_items.
        offsets: `(n_users + 1,)` int64.
        times: `(n_actions,)` int64 or float64, not falling within a user; None where only the order is known.
    """

    items: NDArray[np.int32]
    offsets: Int
    times: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int:
        """`(n_users,)` int64 actions of each user."""
        return np.diff(self.offsets)

    def before(self, stop: Int) -> NDArray[np.bool_]:
        """`(n_actions,)`: which actions lie before their user's `stop`, such as `Split.train_stop`."""
        return np.arange(len(self.items)) < np.repeat(stop, self.lengths)

    @property
    def users(self) -> Int:
        """`(n_actions,)` int64, whose each action is."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def times_are_positions(self) -> bool:
        """Each user's times are 0, 1, 2, ... (or 1, 2, 3, ...): they tell the order and no moments."""
        if self.times is None or not len(self.times):
            return False
        position = np.arange(len(self.items)) - np.repeat(self.offsets[:-1], self.lengths)
        return bool((self.times[:1000] - position[:1000] == self.times[0]).all()) and bool(
            self.times[0] in (0, 1) and (self.times == position + int(self.times[0])).all()
        )


@dataclass(frozen=True, eq=False)
class Part:
    """The users that an evaluation asks, and about what; positions are absolute in `Sequences.items`.

    Args:
        users: `(n,)` int64.
        start, stop: the input of user `users[i]` is `items[start[i]:stop[i]]`; `start` begins the whole history.
        target_stop: the targets are `items[stop[i]:target_stop[i]]`, at least one; `items[stop[i]]` is the next item.
    """

    users: Int
    start: Int
    stop: Int
    target_stop: Int

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class Split:
    """What is learnt from and what is held out.

    Args:
        name: "leave-one-out", "time" or "none".
        options: what was asked for, and the cuts that came of it.
        train_stop: `(n_users,)` int64; the training history of user `u` is `items[offsets[u]:train_stop[u]]`.
        valid, test: who is asked what.
        without_target: how many users are not asked, and why.
    """

    name: str
    options: dict[str, Any]
    train_stop: Int
    valid: Part
    test: Part
    without_target: dict[str, int]


def leave_one_out(sequences: Sequences) -> Split:
    """The last action is the test target, the one before the validation target; the test input contains the latter.

    Users with fewer than three actions are only learnt from.
    """
    begin, end = sequences.offsets[:-1], sequences.offsets[1:]
    users = np.flatnonzero(end - begin >= 3)
    if not len(users):
        raise InputError("leave-one-out: no user has three actions (input, validation, test); nothing can be evaluated")
    train_stop = end.copy()
    train_stop[users] -= 2
    start, stop = begin[users], end[users]
    short = len(sequences) - len(users)
    return Split(
        "leave-one-out",
        {},
        train_stop,
        Part(users, start, stop - 2, stop - 1),
        Part(users, start, stop - 1, stop),
        {"fewer_than_3_actions": short},
    )


def nothing_held_out(sequences: Sequences) -> Split:
    """Everything is learnt from, and nothing can be evaluated: for the model that serves."""
    nobody = sequences.offsets[:0]
    none = Part(nobody, nobody, nobody, nobody)
    return Split("none", {}, sequences.offsets[1:].copy(), none, none, {})


def by_time(sequences: Sequences, *, valid_at: Any = 0.8, test_at: Any = 0.9) -> Split:
    """One pair of cuts for everybody, so that nothing is learnt from a later time than it is tested on.

    What happened before `valid_at` is for training; validation asks what each user did from `valid_at` to `test_at`
    given everything before, test what they did from `test_at` on given everything before that.

    Args:
        valid_at, test_at: a share of all actions (a float between 0 and 1), or a time: a number in the unit of
            `sequences.times`, an ISO date or time, or a `datetime` (UTC where no zone is given).

    Raises:
        InputError: no times, cuts that are not in order or outside of the data, nobody to ask.
    """
    times = sequences.times
    if times is None:
        raise InputError("split='time' needs times, and these data have none; use split='leave-one-out'")
    if sequences.times_are_positions:
        raise InputError(
            "split='time': the times are only positions in each user's sequence (0, 1, 2, ...), which say nothing "
            "about who came first; use split='leave-one-out'"
        )
    given = {"valid_at": valid_at, "test_at": test_at}
    asked = {name: at.item() if isinstance(at, np.number) else at for name, at in given.items()}
    cuts = {name: _cut(times, at, name) for name, at in asked.items()}
    options = {name: at.isoformat() if isinstance(at, dt.date) else at for name, at in asked.items()}
    return cut_at(sequences, cuts["valid_at"], cuts["test_at"], options)


def _cut(times: NDArray[Any], at: Any, name: str) -> int | float:
    """The time that a share, number or date stands for."""
    if isinstance(at, (bool, np.bool_)) or at is None:
        raise InputError(f"{name}={at!r} is no share between 0 and 1 and no time")
    if isinstance(at, float) and 0 < at < 1:
        return np.quantile(times, at, method="higher").item()
    found: int | float = at if isinstance(at, (int, float)) else moment(at, name, times)
    low, high = times.min().item(), times.max().item()
    if not low < found <= high:
        raise InputError(
            f"{name}={at!r} ({found}) does not cut the data, whose times go from {low} to {high}; "
            "give a time between them, or a share such as 0.8"
        )
    return found


def cut_at(sequences: Sequences, valid_cut: float, test_cut: float, options: dict[str, Any]) -> Split:
    """The split of `by_time` at two known times."""
    assert sequences.times is not None
    if not valid_cut < test_cut:
        raise InputError(
            f"split='time': valid_at ({valid_cut}) must be before test_at ({test_cut}); choose cuts further apart"
        )
    begin, end = sequences.offsets[:-1], sequences.offsets[1:]
    valid_stop, test_stop = (begin + _earlier(sequences, cut) for cut in (valid_cut, test_cut))
    valid, test = _part(begin, valid_stop, test_stop), _part(begin, test_stop, end)
    for name, part in (("validation", valid), ("test", test)):
        if not len(part):
            raise InputError(
                f"split='time': no user has actions both before and in the {name} part "
                f"(cuts at {valid_cut} and {test_cut}); choose other cuts"
            )
    without = {
        "valid_no_action": int((valid_stop == test_stop).sum()),
        "valid_no_history": int(((valid_stop < test_stop) & (valid_stop == begin)).sum()),
        "test_no_action": int((test_stop == end).sum()),
        "test_no_history": int(((test_stop < end) & (test_stop == begin)).sum()),
    }
    options = {**options, "valid_cut": valid_cut, "test_cut": test_cut}
    return Split("time", options, valid_stop, valid, test, without)


def _earlier(sequences: Sequences, cut: float) -> Int:
    """`(n_users,)` actions of each user before a time."""
    assert sequences.times is not None
    before = np.zeros(len(sequences.items) + 1, dtype=np.int64)
    np.cumsum(sequences.times < cut, out=before[1:])
    return before[sequences.offsets[1:]] - before[sequences.offsets[:-1]]


def _part(begin: Int, stop: Int, target_stop: Int) -> Part:
    """The users with something before `stop` and something after."""
    users = np.flatnonzero((stop > begin) & (target_stop > stop))
    return Part(users, begin[users], stop[users], target_stop[users])


def places_of(start: NDArray[np.int64] | int, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Slices of `lengths` from `start` on, as places one slice after the other: [3, 7] and [2, 3] -> 3 4 7 8 9."""
    ends = np.cumsum(lengths)
    return np.arange(int(lengths.sum())) + np.repeat(start - ends + lengths, lengths)
