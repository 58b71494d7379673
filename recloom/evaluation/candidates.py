"""The candidates of the sampled protocols: the target and items the user never met."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recloom.data.sequences import places_of
from recloom.errors import InputError
from recloom.evaluation.protocols import Protocol, get_protocol

if TYPE_CHECKING:
    from recloom.data.dataset import Dataset
    from recloom.data.sequences import Part

CELLS = 1 << 24
"""Pairs of user and item marked at one time, two bytes each."""
ROUNDS = 6
"""Rounds of drawing and rejecting before the few rows that are left go over all items."""


def get_part(data: Dataset, part: str) -> Part:
    """The users asked and their targets, by the name of the part.

    Raises:
        InputError: a part that is not known, or that holds no user.
    """
    if part not in ("valid", "test"):
        raise InputError(f"part={part!r} is not known; choose 'valid' or 'test'")
    asked: Part = getattr(data.split, part)
    if not len(asked.users):
        if data.split.name == "none":
            raise InputError(
                "split 'none' holds nothing out, so nothing can be evaluated; prepare the log with another split for "
                "that"
            )
        raise InputError(f"the {part} part of split '{data.split.name}' holds no users; nothing can be evaluated")
    return asked


def sampled_candidates(data: Dataset, part: str, protocol: str | Protocol, seed: int = 0) -> NDArray[np.int32]:
    """Target and sampled negatives of every user asked, `(users, 1 + negatives)`, target first.

    Negatives are never in the user's whole history (training, validation and test items) and never repeat
    within a row. "uniform" draws every other item alike; "popularity" draws one after the other in
    proportion to the training counts (successive sampling; an item without training actions is never
    drawn). One seed gives one table, so every method meets the same candidates.

    Raises:
        InputError: a protocol without sample, or a user with fewer unseen items than negatives.
    """
    protocol = get_protocol(protocol)
    if not protocol.sampled:
        raise InputError(f"protocol '{protocol.name}' ranks all items; it has no sampled candidates")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"seed={seed!r} must be a whole number, at least 0")
    asked = get_part(data, part)
    draw = np.random.default_rng((seed, part == "test", protocol.candidates == "popularity", protocol.negatives))
    n_items = data.catalog.n_items
    counts = np.ones(n_items + 1, dtype=np.int64)
    if protocol.candidates == "popularity":
        counts[:] = data.catalog.train_counts[: n_items + 1]
    counts[0] = 0
    table = np.empty((len(asked.users), 1 + protocol.negatives), dtype=np.int32)
    table[:, 0] = data.sequences.items[asked.stop]
    step = max(1, CELLS // (n_items + 1))
    for begin in range(0, len(table), step):
        users = asked.users[begin : begin + step]
        mark = _marks(data, users, counts)
        _check_enough(data, users, mark, protocol)
        table[begin : begin + step, 1:] = _draw(mark, counts, protocol.negatives, draw)
    return table


def given_candidates(data: Dataset, part: str, negatives: NDArray[np.int32]) -> NDArray[np.int32]:
    """Published negatives as a table of candidates: the target of each user in front.

    Args:
        negatives: item indices, `(users asked, negatives)`, in the order of the part.

    Raises:
        InputError: as `check_candidates`.
    """
    asked, negatives = get_part(data, part), np.asarray(negatives)
    if negatives.ndim != 2 or len(negatives) != len(asked.users):
        raise InputError(
            f"negatives: one row for each of the {len(asked.users)} users of part '{part}' is needed, "
            f"found shape {negatives.shape}"
        )
    targets = data.sequences.items[asked.stop]
    return check_candidates(data, part, np.concatenate([targets[:, None], negatives], 1))


def check_candidates(data: Dataset, part: str, table: NDArray[np.int32]) -> NDArray[np.int32]:
    """A given table of candidates, once it is known to fit the part.

    Raises:
        InputError: wrong shape, a first column that is not the target, an id outside the catalogue, or the
            target once more among its negatives. The message names the row.
    """
    asked, table = get_part(data, part), np.asarray(table)
    if table.ndim != 2 or len(table) != len(asked.users) or table.shape[1] < 2:
        raise InputError(
            f"candidates: a table of {len(asked.users)} rows (the users of part '{part}'), target first, is needed; "
            f"found shape {table.shape}"
        )
    targets = data.sequences.items[asked.stop]
    for wrong, what in (
        (((table < 1) | (table > data.catalog.n_items)).any(1), f"holds an item outside 1..{data.catalog.n_items}"),
        (table[:, 0] != targets, "does not begin with the target of its user"),
        ((table[:, 1:] == targets[:, None]).any(1), "holds the target among its negatives"),
    ):
        if wrong.any():
            raise InputError(f"candidates: row {int(wrong.argmax())} {what} ({int(wrong.sum())} such rows)")
    return table.astype(np.int32)


def _marks(data: Dataset, users: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int16]:
    """`(users, n_items + 1)`: 0 where an item may be drawn, -1 where it may not."""
    offsets = data.sequences.offsets
    lengths = offsets[users + 1] - offsets[users]
    places = places_of(offsets[users], lengths)
    mark = np.zeros((len(users), len(counts)), dtype=np.int16)
    mark[:, counts == 0] = -1
    mark[np.repeat(np.arange(len(users)), lengths), data.sequences.items[places]] = -1
    return mark


def _check_enough(data: Dataset, users: NDArray[np.int64], mark: NDArray[np.int16], protocol: Protocol) -> None:
    free = mark.shape[1] - np.count_nonzero(mark, axis=1)
    if free.min() < protocol.negatives:
        worst = int(free.argmin())
        counted = " with training actions" if protocol.candidates == "popularity" else ""
        raise InputError(
            f"protocol '{protocol.name}' needs {protocol.negatives} items{counted} that a user never met, but user "
            f"{data.user_ids[users[worst]]} has only {int(free[worst])} of {data.catalog.n_items}; use 'full-mask' "
            f"or 'full-open' on a catalogue this small"
        )


def _draw(
    mark: NDArray[np.int16], counts: NDArray[np.int64], negatives: int, draw: np.random.Generator
) -> NDArray[np.int32]:
    """Negatives of one block of users; `mark` is changed.

    Every round draws as many items as are missing and keeps those that are allowed and new: the same as
    drawing one after the other, so the distribution is exact. Rows still open after some rounds (small
    catalogues, histories that hold the popular items) are completed by `_race`.
    """
    table = np.empty((len(mark), negatives), dtype=np.int32)
    rows, slots = np.divmod(np.arange(table.size), negatives)
    uniform, total = bool((counts[1:] == 1).all()), np.cumsum(counts)
    for _ in range(ROUNDS):
        if uniform:
            items = draw.integers(1, len(counts), len(rows))
        else:
            items = np.searchsorted(total, draw.integers(0, total[-1], len(rows)), side="right")
        free = mark[rows, items] == 0
        mark[rows[free], items[free]] = slots[free] + 1  # an item drawn twice belongs to one of its slots
        kept = mark[rows, items] == slots + 1
        table[rows[kept], slots[kept]] = items[kept]
        rows, slots = rows[~kept], slots[~kept]
        if not len(rows):
            return table
    _race(mark, counts, table, rows, slots, draw)
    return table


def _race(
    mark: NDArray[np.int16],
    counts: NDArray[np.int64],
    table: NDArray[np.int32],
    rows: NDArray[np.int64],
    slots: NDArray[np.int64],
    draw: np.random.Generator,
) -> None:
    """Fill the open slots of some rows by going over all items once.

    The items with the smallest exponential times of rate `counts` are a successive sample in that order
    (Efraimidis and Spirakis 2006), also when it continues one already begun.
    """
    open_rows, missing = np.unique(rows, return_counts=True)
    first = np.cumsum(missing) - missing
    for begin in range(0, len(open_rows), step := max(1, CELLS // 8 // len(counts))):
        some = open_rows[begin : begin + step]
        need = missing[begin : begin + step]
        times = draw.standard_exponential((len(some), len(counts))) / np.maximum(counts, 1)
        times[mark[some] != 0] = np.inf
        order = np.argpartition(times, np.unique(need - 1), axis=1)[:, : need.max()]
        inside = np.arange(need.max()) < need[:, None]
        where = slice(first[begin], first[begin] + int(need.sum()))
        table[rows[where], slots[where]] = order[inside]
