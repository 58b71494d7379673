"""Which slices of a history become training samples.

A window is a slice `items[start:stop]` of one user's training history. Its inputs are all of it but
the last item; each input's target is the item after it. Only targets at or after `first_target` count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recloom.data.sequences import Sequences, places_of
from recloom.errors import InputError

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """Slices of the flat item array, one per training row.

    Args:
        users, start, stop, first_target: int64 `(rows,)`; positions are absolute in the flat array,
            `start < first_target < stop`.
    """

    users: Int
    start: Int
    stop: Int
    first_target: Int

    def __len__(self) -> int:
        return len(self.users)

    @property
    def lengths(self) -> Int:
        """Inputs of each row."""
        return self.stop - self.start - 1

    @property
    def n_targets(self) -> Int:
        """Targets that count in each row."""
        return self.stop - self.first_target


class WindowsOf(Protocol):
    """How a training history is cut: `(sequences, train_stop, length) -> Windows`."""

    def __call__(self, sequences: Sequences, train_stop: Int, length: int) -> Windows: ...


def whole(sequences: Sequences, train_stop: Int, length: int) -> Windows:
    """One row per user: the latest `length` inputs, a target after each of them."""
    begin = sequences.offsets[:-1]
    users = np.flatnonzero(train_stop - begin >= 2)
    stop = train_stop[users]
    start = np.maximum(begin[users], stop - 1 - length)
    return Windows(users, start, stop, start + 1)


def whole_histories(sequences: Sequences, train_stop: Int, length: int) -> Windows:
    """One row per user, longer than `length` where the history is: for methods that choose what they read of a row."""
    return whole(sequences, train_stop, len(sequences.items))


def prefixes(sequences: Sequences, train_stop: Int, length: int, latest: int | None = None) -> Windows:
    """One row per target: every prefix of every history (its latest `length` items) and the item after it.

    With `latest`, only the latest that many items of a history are cut up; earlier ones are left out (S3-Rec).
    """
    begin = sequences.offsets[:-1]
    if latest is not None:
        begin = np.maximum(begin, train_stop - latest)
    counts = np.maximum(train_stop - begin - 1, 0)
    users = np.repeat(np.arange(len(begin)), counts)
    target = places_of(begin + 1, counts)
    return Windows(users, np.maximum(begin[users], target - length), target + 1, target)


def sliding(sequences: Sequences, train_stop: Int, length: int, step: int | None = None, again: int = 0) -> Windows:
    """Long histories in overlapping rows, so that every item is a target exactly once.

    The latest row holds the last `length` inputs, the one before ends `step` items earlier, and so on;
    a row counts only the targets that no earlier row covers, and again the latest `again` of the row before, so that
    what is asked of a position may be more than its next item. `step` defaults to half of `length`.
    """
    step = max(1, length // 2) if step is None else step
    if not 1 <= step <= length:
        raise InputError(f"windows: step must lie in 1..{length} (the items a row holds), not {step}")
    begin = sequences.offsets[:-1]
    targets = train_stop - begin - 1
    counts = np.where(targets >= 1, 1 + np.maximum(0, -(-(targets - length) // step)), 0)
    users = np.repeat(np.arange(len(begin)), counts)
    back = places_of(0, counts)
    stop = train_stop[users] - back * step
    start = np.maximum(begin[users], stop - 1 - length)
    earliest = back == counts[users] - 1
    return Windows(users, start, stop, np.where(earliest, start + 1, stop - step - again))


def past_and_future(sequences: Sequences, train_stop: Int, length: int) -> Windows:
    """One row per cut of a history into a past and what follows it: the `length` items nearest to it on both sides.

    The past ends before `first_target`, the future begins there.
    """
    begin = sequences.offsets[:-1]
    counts = np.maximum(train_stop - begin - 1, 0)
    users = np.repeat(np.arange(len(begin)), counts)
    cut = places_of(begin + 1, counts)
    return Windows(users, np.maximum(begin[users], cut - length), np.minimum(train_stop[users], cut + length), cut)


WINDOWS: dict[str, WindowsOf] = {"whole": whole, "prefixes": prefixes, "sliding": sliding}


def get_windows(name: str, step: int | None = None) -> WindowsOf:
    """A way of cutting by name; `step` is read by `sliding` alone."""
    if name not in WINDOWS:
        raise InputError(f"windows={name!r} is not known; choose one of {', '.join(WINDOWS)}")
    if step is not None and name != "sliding":
        raise InputError(f"step={step} belongs to windows='sliding'; windows={name!r} takes no step")
    return partial(sliding, step=step) if name == "sliding" else WINDOWS[name]
