"""Raw histories, as lists or as a frame, to one flat array of known items."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.catalog import Catalog
from recloom.data.sources import collect
from recloom.data.times import read_times
from recloom.errors import InputError

FLAT = "histories is one flat list of ids (it holds {found!r}); give a list of histories, such as [[{found!r}, ...]]"

NO_LISTS = (str, bytes, Mapping, set, frozenset)
"""Things that can be iterated over and are no list of histories, nor a history."""


@dataclass(frozen=True)
class Histories:
    """The known items of each history, oldest first, one after another.

    Args:
        users: external user ids, one a history; a `range` where histories are only numbered.
        items: `(n_actions,)` item indices 1..n.
        offsets: `(n_histories + 1,)` int64; history h is `items[offsets[h]:offsets[h + 1]]`.
        unknown_items: actions on items that the catalogue does not hold, left out of `items`.
        numbers: `(n_histories,)` int64, which user of the training data each history belongs to, for methods that have
            learnt something of each; -1 for nobody. None where they are all nobody's.
    """

    users: Sequence[Any] | pl.Series | NDArray[Any]
    items: NDArray[Any]
    offsets: NDArray[np.int64]
    unknown_items: int = 0
    numbers: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if len(self.users) != len(self.offsets) - 1:
            raise InputError(
                f"user_ids has {len(self.users)} ids for {len(self.offsets) - 1} histories; give one id a history"
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """`(n_histories,)` known items in each."""
        return np.diff(self.offsets)

    @property
    def user_list(self) -> list[Any]:
        """The user ids as Python objects."""
        return self.users.tolist() if isinstance(self.users, np.ndarray) else list(self.users)

    def part(self, start: int, stop: int) -> Histories:
        """Histories `start` to `stop`; unknown items are counted in the first part only."""
        offsets = self.offsets[start : stop + 1]
        items, unknown = self.items[offsets[0] : offsets[-1]], 0 if start else self.unknown_items
        numbers = None if self.numbers is None else self.numbers[start:stop]
        return Histories(self.users[start:stop], items, offsets - offsets[0], unknown, numbers)


def read_histories(
    histories: Any, catalog: Catalog, user_ids: Iterable[Any] | None = None, first: int = 0
) -> Histories:
    """Histories of external ids, in any of the accepted shapes.

    Args:
        histories: a list of lists of item ids, oldest first; or a frame (Polars, pandas, Arrow, ...) with the columns
            `user_id`, `item_id` and, unless its rows are already in the order of time, `timestamp`; or `Histories`.
        user_ids: an id for each history of a list; its number if None.
        first: the number of the first history where there are no ids.

    Raises:
        InputError: a flat list of ids, sets, missing columns, nulls in `user_id` or `timestamp`.
    """
    if isinstance(histories, (list, tuple)):
        return _from_rows(histories, catalog, user_ids, first)
    frame = nw.from_native(histories, pass_through=True)
    if isinstance(frame, (nw.DataFrame, nw.LazyFrame)) or isinstance(histories, Histories):
        if user_ids is not None:
            raise InputError("user_ids goes with a list of histories; here the user ids come with the histories")
        return histories if isinstance(histories, Histories) else _from_frame(frame, catalog)
    if isinstance(histories, NO_LISTS) or not isinstance(histories, Iterable):
        raise InputError(
            f"histories is a {type(histories).__name__}; give a list of histories (lists of item ids) with user_ids "
            "beside it, or a frame with the columns user_id and item_id"
        )
    return _from_rows(list(histories), catalog, user_ids, first)


def _from_rows(rows: Sequence[Any], catalog: Catalog, user_ids: Iterable[Any] | None, first: int) -> Histories:
    rows = [row if type(row) is list else _row(row, number) for number, row in enumerate(rows)]
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    codes = catalog.encode(rows[0] if len(rows) == 1 else list(itertools.chain.from_iterable(rows)))
    users = range(first, first + len(rows)) if user_ids is None else _users(user_ids)
    return _known(users, codes, offsets)


def _row(row: Any, number: int) -> list[Any]:
    """One history as a list."""
    if isinstance(row, (str, bytes, int, float, np.generic)):
        raise InputError(FLAT.format(found=row.item() if isinstance(row, np.generic) else row))
    if isinstance(row, (set, frozenset, Mapping)):
        raise InputError(f"history {number} is a {type(row).__name__}, which has no order; give a list, oldest first")
    if isinstance(row, np.ndarray):
        return row.tolist()
    if isinstance(row, Iterable):
        return list(row)
    raise InputError(f"history {number} is a {type(row).__name__}; give a list of item ids, oldest first")


def _users(user_ids: Iterable[Any]) -> list[Any]:
    if isinstance(user_ids, (str, bytes)) or not isinstance(user_ids, Iterable):
        raise InputError(f"user_ids is one {type(user_ids).__name__}; give a list with one id a history")
    users = user_ids.tolist() if isinstance(user_ids, np.ndarray) else list(user_ids)
    if len({isinstance(user, str) for user in users}) > 1:
        raise InputError("user_ids mixes text with other types; give them all one type")
    return users


def _from_frame(frame: nw.DataFrame[Any] | nw.LazyFrame[Any], catalog: Catalog) -> Histories:
    names = frame.collect_schema().names()
    for name in ("user_id", "item_id"):
        if name not in names:
            raise InputError(f"histories has no column {name!r}; it has {', '.join(map(str, names))}. Rename one")
    timed = "timestamp" in names
    frame = frame.select(["user_id", "item_id", "timestamp"] if timed else ["user_id", "item_id"])
    table, _ = collect(frame, "histories")
    for name in ("user_id", "item_id"):
        if table[name].dtype.is_nested():
            raise InputError(f"histories: column {name!r} holds {table[name].dtype}; give one id a row")
    for name in ("user_id", "timestamp") if timed else ("user_id",):
        if nulls := table[name].null_count():
            raise InputError(f"histories: column {name!r} holds {nulls} nulls; drop or fill these rows")
    if timed and len(table):
        order = read_times(table["timestamp"], lambda row: f"row {row + 1}", "timestamp").order
        table = table.with_columns(timestamp=pl.Series(order))
    item = pl.col("item_id").sort_by("timestamp", maintain_order=True) if timed else pl.col("item_id")
    grouped = table.group_by("user_id", maintain_order=True).agg(item)
    offsets = np.zeros(len(grouped) + 1, dtype=np.int64)
    np.cumsum(grouped["item_id"].list.len().to_numpy(), out=offsets[1:])
    flat = grouped["item_id"].explode() if len(grouped) else table["item_id"]
    users = grouped["user_id"]
    if users.dtype in (pl.Categorical, pl.Enum):
        users = users.cast(pl.String)
    return _known(users, _encode_column(flat, catalog), offsets)


def _encode_column(ids: pl.Series, catalog: Catalog) -> NDArray[np.int64]:
    """Item indices of a column of ids, each distinct id looked up once; nulls and fractions are unknown."""
    if ids.dtype in (pl.Categorical, pl.Enum):
        ids = ids.cast(pl.String)
    if ids.dtype.is_float():
        whole = ids.is_finite() & (ids == ids.floor())
        ids = pl.select(pl.when(whole).then(ids.fill_nan(None))).to_series().cast(pl.Int64, strict=False)
    distinct = ids.drop_nulls().unique()
    codes = pl.Series(catalog.encode(distinct.to_numpy() if ids.dtype.is_integer() else distinct.to_list()))
    return ids.replace_strict(distinct, codes, default=0, return_dtype=pl.Int64).to_numpy()


def _known(users: Sequence[Any] | pl.Series, codes: NDArray[np.int64], offsets: NDArray[np.int64]) -> Histories:
    """Leave out unknown items (index 0) and count them."""
    known = codes > 0
    n_known = int(np.count_nonzero(known))
    if n_known < len(codes):
        before = np.zeros(len(codes) + 1, dtype=np.int64)
        np.cumsum(known, out=before[1:])
        return Histories(users, codes[known], before[offsets], unknown_items=len(codes) - n_known)
    return Histories(users, codes, offsets)
