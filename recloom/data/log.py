"""A log of actions from any file or frame: the only place that knows the names of its columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.columns import Ids, check_columns, is_null, read_ids
from recloom.data.filters import ITEM, TIME, USER, Rows, drop_nulls, filtered, filtered_in_engine
from recloom.data.sources import Source, check_lines, collect, open_source
from recloom.data.times import Place, read_times
from recloom.errors import InputError

SOURCE_ORDER = "rows of one user with equal times keep the order of the source"
ITEM_ORDER = "rows of one user with equal times are ordered by item id (the source has no order)"


@dataclass(eq=False)
class Log:
    """A checked and filtered log, grouped by user and ordered by time.

    Args:
        user_ids, item_ids: sorted external ids, int64 or text (object).
        items: `(n_actions,)` int32; item `i` (1..n) has the id `item_ids[i - 1]`.
        offsets: `(n_users + 1,)` int64; user `u` did `items[offsets[u]:offsets[u + 1]]`.
        times: `(n_actions,)` int64 or float64; None without a column of times.
        report: counts of what was read, dropped and tied.
    """

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    items: NDArray[np.int32]
    offsets: NDArray[np.int64]
    times: NDArray[Any] | None
    report: dict[str, Any] = field(default_factory=dict)


def read_log(
    source: Any,
    *,
    user: str = "user_id",
    item: str = "item_id",
    time: str | None = "timestamp",
    min_user: int = 5,
    min_item: int = 5,
    duplicates: str = "keep",
) -> Log:
    """Read, check and filter a log of actions.

    Rows with a null (in CSV and TSV also NaN, nan, null and NULL) are dropped, then (by option) rows equal to an
    earlier one in user, item and time, then users and items with too few actions, until none is left. Users and items
    are numbered by their sorted ids, so that equal logs give equal results from every source. DuckDB and Spark do all
    this filtering themselves.

    Args:
        source: a CSV, TSV or Parquet file, a pattern (`days/*.parquet`) or a folder of such files; a pandas, Polars
            (eager or lazy), Arrow, DuckDB or Spark frame.
        user, item: the columns of ids, integers or text.
        time: the column of times: integers, floats, dates or ISO text. None: the rows are already in order.
        min_user, min_item: fewest actions that a user, and an item, must have; 0 or 1 removes nothing.
        duplicates: "keep" or "drop".

    Raises:
        InputError: a missing file or column, unreadable values, a log without any pattern, or nothing left.
    """
    options = {"min_user": min_user, "min_item": min_item}
    for name, least in options.items():
        if isinstance(least, bool) or not isinstance(least, (int, np.integer)) or least < 0:
            raise InputError(f"{name}={least!r} must be a whole number, 0 or more")
    options = {name: int(least) for name, least in options.items()}
    if duplicates not in ("keep", "drop"):
        raise InputError(f"duplicates={duplicates!r} is not known; choose 'keep' or 'drop'")
    if duplicates == "drop" and time is None:
        raise InputError("duplicates='drop' needs times: without them a repeated action looks like a duplicate")
    opened = open_source(source, "log")
    check_columns(opened, {"user": user, "item": item, "time": time})
    if time is None and not opened.ordered:
        raise InputError(f"{opened.name} has no order of rows, so time=None cannot say what came first; name a column")
    names = {USER: user, ITEM: item} | ({TIME: time} if time is not None else {})
    rows, report = _read_rows(opened, names, options, duplicates == "drop")
    if not opened.in_engine:
        rows = filtered(rows, names, options, duplicates == "drop", report)
    return _grouped(rows, opened.ordered, report)


def _read_rows(
    opened: Source, names: dict[str, str], options: dict[str, int], drop_duplicates: bool
) -> tuple[Rows, dict[str, Any]]:
    """Read the columns, drop nulls and, in an engine, filter there."""
    frame = opened.frame.select(*(nw.col(column).alias(name) for name, column in names.items()))
    report: dict[str, Any] = {"source": opened.name}
    mixed: list[str] = []
    if not opened.in_engine:
        table, mixed = collect(frame, opened.name)
        frame = nw.from_native(table)
    if opened.text:
        check_lines(table, [USER, ITEM], opened)
    kept = drop_nulls(frame, names, opened.name, report)
    if isinstance(kept, nw.LazyFrame):
        kept = filtered_in_engine(kept, names, options, drop_duplicates, report)
        table, _ = collect(kept, opened.name)
        place: Place = opened.place
    else:
        place = _place(opened, table, kept.to_native())
        table = kept.to_native()
    del frame, kept
    rows = Rows(*_read_ids(table, names, mixed, report), None)
    if TIME in names:
        rows.times = read_times(table[TIME].rename(names[TIME]), place, names[TIME])
    report["time"] = rows.times.unit if rows.times else "none: rows are in order"
    return rows, report


def _read_ids(table: pl.DataFrame, names: dict[str, str], mixed: list[str], report: dict[str, Any]) -> tuple[Ids, Ids]:
    """Both columns of ids as codes, and in the report what kind of ids they are."""
    users, items = (read_ids(table[name].rename(names[name]), name) for name in (USER, ITEM))
    for name, ids in ((USER, users), (ITEM, items)):
        is_mixed = name in mixed and ids.kind == "text"
        report[f"{name}_ids"] = "mixed types, kept as text" if is_mixed else ids.kind
    return users, items


def _place(opened: Source, before: pl.DataFrame, after: pl.DataFrame) -> Place:
    """File and row of the source (from 1) that a row without nulls was."""

    def place(row: int) -> str:
        if before.height > after.height:
            every = nw.from_native(before)
            keep = every.select(~nw.any_horizontal(*(is_null(every, c) for c in before.columns), ignore_nulls=False))
            row = int(np.flatnonzero(keep.to_numpy()[:, 0])[row])
        return opened.place(row)

    return place


def _grouped(rows: Rows, ordered: bool, report: dict[str, Any]) -> Log:
    """Order the rows by user and time, and count ties."""
    if not _in_order(rows, ordered):
        keys = [rows.users.codes, *([rows.times.order] if rows.times else []), *([] if ordered else [rows.items.codes])]
        rows.take(_sorting(keys))
    users, times = rows.users.codes, rows.times
    offsets = np.zeros(len(rows.users.values) + 1, dtype=np.int64)
    np.cumsum(np.bincount(users, minlength=len(rows.users.values)), out=offsets[1:])
    report["ties"], report["tie_rule"] = 0, "no times: rows keep the order of the source"
    values = None
    if times is not None:
        tied = (users[1:] == users[:-1]) & (times.order[1:] == times.order[:-1])
        report["ties"] = int(tied.sum())
        report["tie_rule"] = SOURCE_ORDER if ordered else ITEM_ORDER
        report["duplicates_kept"] = _duplicates(rows, tied)
        values = times.order if times.per_second is None else times.order / times.per_second
    return Log(rows.users.values, rows.items.values, rows.items.codes + np.int32(1), offsets, values, report)


def _sorting(keys: list[NDArray[Any]]) -> NDArray[np.int64]:
    """The order that sorts rows by the first key, then the next ones; equal rows keep their order."""
    order = _stable(keys[-1])
    for key in keys[-2::-1]:
        order = order[_stable(key[order])]
    return order


def _stable(key: NDArray[Any]) -> NDArray[np.int64]:
    """A stable argsort; integers are sorted together with their place, which is several times faster."""
    bits = len(key).bit_length()
    if key.dtype.kind == "i" and len(key):
        low = int(key.min())
        if (int(key.max()) - low).bit_length() + bits < 64:
            packed = key.astype(np.int64) - low
            packed <<= bits
            packed |= np.arange(len(key))
            packed.sort()
            packed &= (1 << bits) - 1
            return packed
    return np.argsort(key, kind="stable")


def _in_order(rows: Rows, ordered: bool) -> bool:
    """Nothing has to be sorted."""
    users = rows.users.codes
    same = users[1:] == users[:-1]
    if (users[1:] < users[:-1]).any():
        return False
    if rows.times is None:
        return True
    times = rows.times.order
    return not (same & ((times[1:] < times[:-1]) if ordered else (times[1:] <= times[:-1]))).any()


def _duplicates(rows: Rows, tied: NDArray[np.bool_]) -> int:
    """Rows that equal an earlier one in user, item and time, looked for among ties only."""
    if not tied.any():
        return 0
    starts = np.concatenate([[True], ~tied])
    group = np.cumsum(starts)
    inside = np.concatenate([[False], tied]) | np.concatenate([tied, [False]])
    pairs = pl.DataFrame({"group": group[inside], ITEM: rows.items.codes[inside]})
    return pairs.height - pairs.n_unique()
