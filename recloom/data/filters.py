"""What happens to the rows of a log before they are ordered: nulls, duplicates, rare users and items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.columns import Ids, is_null
from recloom.data.k_core import Removed, k_core, k_core_in_engine, materialise, n_rows
from recloom.data.times import Times
from recloom.errors import InputError

USER, ITEM, TIME = "user", "item", "time"
"""What the columns of a log are called once they have been found."""


@dataclass(eq=False)
class Rows:
    """The rows that are still there, as codes; `order` are the values to sort by."""

    users: Ids
    items: Ids
    times: Times | None

    def take(self, rows: NDArray[np.int64]) -> None:
        """Keep some rows."""
        for ids in (self.users, self.items):
            ids.codes = ids.codes[rows]
        if self.times is not None:
            self.times.order = self.times.order[rows]

    def frame(self) -> pl.DataFrame:
        """The codes and times as columns."""
        columns = {USER: self.users.codes, ITEM: self.items.codes}
        return pl.DataFrame(columns | ({TIME: self.times.order} if self.times is not None else {}))


def drop_nulls(frame: Any, names: dict[str, str], source: str, report: dict[str, Any]) -> Any:
    """Rows without a null, and in the report how many had one, by column."""
    missing = {name: is_null(frame, name) for name in names}
    counted = frame.select(nw.len().alias("rows"), *(null.sum().alias(name) for name, null in missing.items()))
    if isinstance(counted, nw.LazyFrame):
        counted = counted.collect("polars")
    counts = {name: int(counted[name][0] or 0) for name in counted.columns}
    report["rows_read"] = counts.pop("rows")
    if not report["rows_read"]:
        raise InputError(f"{source} has no rows; give a log with one action a row")
    report["nulls_dropped"] = {"rows": 0, **{names[name]: count for name, count in counts.items()}}
    if not any(counts.values()):
        return frame
    kept = frame.filter(~nw.any_horizontal(*missing.values(), ignore_nulls=False))
    left = len(kept) if isinstance(kept, nw.DataFrame) else n_rows(kept)
    report["nulls_dropped"]["rows"] = report["rows_read"] - left
    if not left:
        counted = ", ".join(f"{names[name]}: {count:,}" for name, count in counts.items())
        raise InputError(f"{source}: each of its {report['rows_read']:,} rows has a null ({counted}); nothing is left")
    return kept


def _check_pattern(rows: int, counts: dict[str, int], names: dict[str, str], when: str = "") -> None:
    """Refuse a log in which nobody has anything in common."""
    for name, others in ((USER, "nothing can be compared between users"), (ITEM, "there is nothing to choose from")):
        if counts[name] == 1:
            raise InputError(f"only one {name} {when or 'in the log'} (column {names[name]!r}); {others}")
        if counts[name] == rows and not when:
            raise InputError(
                f"all {rows:,} values of column {names[name]!r} are distinct, so no {name} occurs twice; it looks "
                f"like a number of rows. Choose the column of {name} ids with {name}=... (--{name} COLUMN)"
            )


def filtered(
    rows: Rows, names: dict[str, str], options: dict[str, int], drop_duplicates: bool, report: dict[str, Any]
) -> Rows:
    """Duplicates and the k-core, in memory."""
    counts = {USER: len(rows.users.values), ITEM: len(rows.items.values)}
    _check_pattern(len(rows.users.codes), counts, names)
    before = len(rows.users.codes)
    if drop_duplicates:
        first = rows.frame().with_row_index("row").unique([USER, ITEM, TIME], keep="first", maintain_order=True)["row"]
        if len(first) < before:
            rows.take(first.to_numpy())
    report["duplicates_dropped"] = before - len(rows.users.codes)
    kept, removed = k_core(rows.users.codes, rows.items.codes, options["min_user"], options["min_item"])
    if kept is not None:
        rows.take(kept)
    for ids in (rows.users, rows.items):
        ids.compact()
    left = {USER: len(rows.users.values), ITEM: len(rows.items.values)}
    _report_k_core(report, options, removed, counts, left, names)
    return rows


def filtered_in_engine(
    frame: nw.LazyFrame[Any],
    names: dict[str, str],
    options: dict[str, int],
    drop_duplicates: bool,
    report: dict[str, Any],
) -> nw.LazyFrame[Any]:
    """The same inside DuckDB or Spark."""
    before, counts = _distinct(frame)
    _check_pattern(before, counts, names)
    after = before
    if drop_duplicates:
        frame = materialise(frame.unique())
        after = n_rows(frame)
    report["duplicates_dropped"] = before - after
    frame, removed = k_core_in_engine(frame, USER, ITEM, options["min_user"], options["min_item"])
    _report_k_core(report, options, removed, counts, _distinct(frame)[1] if removed.rounds else counts, names)
    return frame


def _distinct(frame: nw.LazyFrame[Any]) -> tuple[int, dict[str, int]]:
    """Rows, and distinct users and items."""
    found = frame.select(nw.len().alias("n"), *(nw.col(name).n_unique() for name in (USER, ITEM))).collect("polars")
    return int(found["n"][0]), {name: int(found[name][0] or 0) for name in (USER, ITEM)}


def _report_k_core(
    report: dict[str, Any],
    options: dict[str, int],
    removed: Removed,
    before: dict[str, int],
    left: dict[str, int],
    names: dict[str, str],
) -> None:
    """Say what the k-core removed; if that is everything, as an error."""
    actions = removed.by_items + removed.by_users
    rows = report["rows_read"] - report["nulls_dropped"]["rows"] - report["duplicates_dropped"]
    report["k_core"] = {
        **options,
        "rounds": removed.rounds,
        "users_removed": before[USER] - left[USER],
        "items_removed": before[ITEM] - left[ITEM],
        "actions_removed": actions,
        "actions_of_rare_items": removed.by_items,
        "actions_of_rare_users": removed.by_users,
    }
    done = (
        f"{report['rows_read']:,} rows were read; dropped for nulls: {report['nulls_dropped']['rows']:,}; "
        f"as duplicates: {report['duplicates_dropped']:,}; min_item={options['min_item']} removed {removed.by_items:,} "
        f"and min_user={options['min_user']} removed {removed.by_users:,}, in {removed.rounds} rounds"
    )
    if actions == rows:
        raise InputError(f"nothing is left after the filters. {done}. Lower min_user or min_item")
    if removed.rounds:
        _check_pattern(rows - actions, left, names, f"is left after the filters. {done}")
