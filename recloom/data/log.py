"""Any event log to a checked `Log`; the only place that sees column names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.sources import collect, open_source, select
from recloom.errors import InputError


@dataclass(frozen=True)
class Log:
    """Actions sorted by user, then time.

    Args:
        user_ids, item_ids: sorted external ids, int64 or object (str).
        users, items: `(n_actions,)` int32 positions in them, from 0.
        times: int64 or float64, or None; dates become microseconds since 1970.
        report: what was read, dropped and tied.
    """

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[Any] | None
    report: dict[str, Any]


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
    """Read, check, filter and order a log.

    Args:
        source: a path (CSV, TSV or Parquet: one file, a glob, a folder) or a frame of pandas, Polars, Arrow,
            DuckDB or PySpark.
        user, item, time: its column names; `time=None` takes the order of the rows.
        min_user, min_item: the fewest actions of a user and of an item, applied in turn until both hold.
        duplicates: "keep" or "drop" rows that repeat an earlier one in all three columns.

    Raises:
        InputError: whatever cannot be a log, with what was found and what to do.
    """
    if duplicates not in ("keep", "drop"):
        raise InputError(f"duplicates={duplicates!r} is not known; choose 'keep' or 'drop'")
    if min_user < 0 or min_item < 0:
        raise InputError(f"min_user={min_user}, min_item={min_item}: counts cannot be negative")
    lazy, name = open_source(source)
    wanted = {"user_id": user, "item_id": item} | ({"timestamp": time} if time is not None else {})
    lazy = select(lazy, wanted, name)
    ordered = not (lazy.implementation.is_duckdb() or lazy.implementation.is_pyspark())
    if not ordered and time is None:
        raise InputError(f"{name}: rows of a database have no order; name the time column with time=...")
    if lazy.implementation.is_pyspark():  # a cluster filters before anything is collected
        lazy = _k_core_in_engine(lazy.drop_nulls(["user_id", "item_id"]), min_user, min_item)
    frame = collect(lazy, name)
    report: dict[str, Any] = {"source": name, "rows": len(frame)}
    frame = _clean(frame, name, duplicates, report)
    user_ids, users = _codes(frame["user_id"])
    item_ids, items = _codes(frame["item_id"])
    times = None if time is None else frame["timestamp"].to_numpy()
    _plausible(name, len(frame), len(user_ids), len(item_ids))
    kept = k_core(users, items, len(user_ids), len(item_ids), min_user, min_item, report)
    if not kept.any():
        raise InputError(
            f"{name}: nothing is left of {len(users):,} actions after min_user={min_user} and min_item={min_item} "
            f"(the first pass of min_user removed {report['first_pass_user']:,} actions, of min_item "
            f"{report['first_pass_item']:,}); lower them"
        )
    users, items = users[kept], items[kept]
    times = None if times is None else times[kept]
    user_ids, users = _renumber(user_ids, users)
    item_ids, items = _renumber(item_ids, items)
    order = _order(users, items, times, ordered)
    users, items = users[order], items[order]
    times = None if times is None else times[order]
    ties = 0 if times is None else int(((users[1:] == users[:-1]) & (times[1:] == times[:-1])).sum())
    report |= {"actions": len(users), "users": len(user_ids), "items": len(item_ids), "ties": ties}
    report["tie_rule"] = "order of the source" if ordered else "item id"
    return Log(user_ids, item_ids, users, items, times, report)


def _clean(frame: pl.DataFrame, name: str, duplicates: str, report: dict[str, Any]) -> pl.DataFrame:
    """Drop nulls and, if asked, repeated rows; make times numbers."""
    if not len(frame):
        raise InputError(f"{name}: the log is empty")
    whole = frame.drop_nulls().drop_nans() if any(t.is_float() for t in frame.dtypes) else frame.drop_nulls()
    report["nulls_dropped"] = len(frame) - len(whole)
    if not len(whole):
        raise InputError(f"{name}: every one of {len(frame):,} rows has an empty user, item or time")
    frame = _ids(whole, name)
    if "timestamp" in frame.columns:
        frame = frame.with_columns(_times(frame["timestamp"], name))
    distinct = frame.unique(maintain_order=True)
    report["duplicates"] = len(frame) - len(distinct)
    report["duplicates_dropped"] = report["duplicates"] if duplicates == "drop" else 0
    return distinct if duplicates == "drop" else frame


def _ids(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Ids as int64 or strings."""
    for column in ("user_id", "item_id"):
        values = frame[column]
        if values.dtype.is_float():
            if not (values == values.round()).all():
                raise InputError(f"{name}: {column} holds fractions such as {values[0]}; ids are integers or text")
            values = values.cast(pl.Int64)
        elif values.dtype.is_integer():
            if values.dtype == pl.UInt64 and values.max() > 2**63 - 1:  # type: ignore[operator]
                values = values.cast(pl.String)
            else:
                values = values.cast(pl.Int64)
        else:
            values = values.cast(pl.String)
        frame = frame.with_columns(values.alias(column))
    return frame


def _times(values: pl.Series, name: str) -> pl.Series:
    """Times as int64 or float64."""
    if values.dtype.is_integer():
        return values.cast(pl.Int64)
    if values.dtype.is_float():
        return values.cast(pl.Float64)
    if values.dtype == pl.String:
        parsed = values.str.to_datetime(strict=False, time_unit="us") if len(values) else values
        if parsed.null_count():
            numbers = values.cast(pl.Float64, strict=False)
            if not numbers.null_count():
                return numbers
            row = int(parsed.is_null().arg_max() or 0)
            raise InputError(
                f"{name}: timestamp in row {row + 1} is {values[row]!r}; give integers, floats, dates or ISO text "
                f"such as 2024-03-01T12:00:00"
            )
        values = parsed
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        return values.cast(pl.Datetime("us")).dt.epoch("us")
    raise InputError(f"{name}: timestamps of type {values.dtype} cannot be read; give numbers, dates or ISO text")


def _plausible(name: str, actions: int, n_users: int, n_items: int) -> None:
    """Refuse what can only be a mistake."""
    if n_users == 1:
        raise InputError(f"{name}: only one user; is the user column the right one?")
    for what, count, option in (("user", n_users, "--user"), ("item", n_items, "--item")):
        if count == actions and actions > 1:
            raise InputError(f"{name}: all {actions:,} {what} ids are distinct; is {option} the right column?")


def _codes(values: pl.Series) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Sorted distinct ids, and each row's position among them."""
    keys = values.unique().sort()
    rows = pl.DataFrame({"id": values})
    table = pl.DataFrame({"id": keys, "code": np.arange(len(keys), dtype=np.int32)})
    codes = rows.join(table, on="id", how="left", maintain_order="left")["code"].to_numpy()
    ids = keys.to_numpy() if keys.dtype == pl.Int64 else np.array(keys.to_list(), dtype=object)
    return ids, codes


def _renumber(ids: NDArray[Any], codes: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Only the ids that are left, and the codes among them."""
    present = np.bincount(codes, minlength=len(ids)) > 0
    return ids[present], (np.cumsum(present) - 1)[codes].astype(np.int32)


def k_core(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    n_users: int,
    n_items: int,
    min_user: int,
    min_item: int,
    report: dict[str, Any],
) -> NDArray[np.bool_]:
    """Which actions are left when no user and no item has too few; records what each filter removed."""
    kept = np.ones(len(users), dtype=bool)
    report |= {"k_core_rounds": 0, "removed_by_user": 0, "removed_by_item": 0}
    while True:
        before = int(kept.sum())
        for label, codes, n, least in (("item", items, n_items, min_item), ("user", users, n_users, min_user)):
            if least > 1:
                counts = np.bincount(codes[kept], minlength=n)
                now = kept & (counts >= least)[codes]
                removed = int(kept.sum() - now.sum())
                report[f"removed_by_{label}"] += removed
                kept = now
            if report["k_core_rounds"] == 0:
                report[f"first_pass_{label}"] = report[f"removed_by_{label}"]
        report["k_core_rounds"] += 1
        if int(kept.sum()) == before:
            return kept


def _k_core_in_engine(frame: nw.LazyFrame[Any], min_user: int, min_item: int) -> nw.LazyFrame[Any]:
    """The same filter by a cluster, its plan cut each round."""
    rows = -1
    while True:
        for column, least in (("item_id", min_item), ("user_id", min_user)):
            if least > 1:
                frame = frame.filter(nw.len().over(column) >= least)
        frame = nw.from_native(frame.to_native().localCheckpoint()).lazy()
        now = int(frame.select(nw.len()).collect().item())
        if now == rows:
            return frame
        rows = now


def _order(
    users: NDArray[np.int32], items: NDArray[np.int32], times: NDArray[Any] | None, ordered: bool
) -> NDArray[np.int64] | slice:
    """The rows by user, time, and then the source's order or the item."""
    if times is None:
        return np.argsort(users, kind="stable")
    same = users[1:] == users[:-1]
    if ordered and bool(((users[1:] > users[:-1]) | (same & (times[1:] >= times[:-1]))).all()):
        return slice(None)
    frame = pl.DataFrame({"user": users, "time": times, "item": items, "row": np.arange(len(users))})
    return frame.sort("user", "time", "row" if ordered else "item")["row"].to_numpy()
