"""Remove rare users and items until none is left: in memory on codes, or inside an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]


@dataclass
class Removed:
    """What the filter took away.

    Args:
        rounds: passes that removed something.
        by_items, by_users: actions removed because their item, or their user, was too rare.
    """

    rounds: int = 0
    by_items: int = 0
    by_users: int = 0

    def add(self, by_items: int, by_users: int) -> bool:
        """Count one pass; False if it removed nothing."""
        self.by_items += by_items
        self.by_users += by_users
        changed = by_items + by_users > 0
        self.rounds += changed
        return changed


def k_core(users: Codes, items: Codes, min_user: int, min_item: int) -> tuple[NDArray[np.int64] | None, Removed]:
    """Rows that are left when every user has `min_user` actions and every item `min_item`.

    Args:
        users, items: `(rows,)` int32 codes, from 0.
        min_user, min_item: 0 or 1 removes nothing.

    Returns:
        The places of the rows that stay, in order (None: all), and what was removed. The result does not depend on
        the order of the passes: it is the largest such set.
    """
    removed, rows = Removed(), None
    while True:
        counts = []
        for codes, least in ((items, min_item), (users, min_user)):
            codes = items if codes is items else users
            before = len(users)
            keep = np.bincount(codes)[codes] >= least if least > 1 and before else None
            if keep is not None and not keep.all():
                users, items = users[keep], items[keep]
                rows = np.flatnonzero(keep) if rows is None else rows[keep]
            counts.append(before - len(users))
        if not removed.add(*counts):
            return rows, removed


def k_core_in_engine(
    frame: nw.LazyFrame[Any], user: str, item: str, min_user: int, min_item: int
) -> tuple[nw.LazyFrame[Any], Removed]:
    """The same inside DuckDB or Spark; the plan is cut after every pass, for it would grow."""
    removed, before = Removed(), n_rows(frame)
    while True:
        counts = []
        for column, least in ((item, min_item), (user, min_user)):
            after = before
            if least > 1:
                frame = materialise(frame.filter(nw.len().over(column) >= least))
                after = n_rows(frame)
            counts.append(before - after)
            before = after
        if not removed.add(*counts):
            return frame, removed


def n_rows(frame: nw.LazyFrame[Any]) -> int:
    """The number of rows."""
    return int(frame.select(nw.len()).collect("polars").item())


def materialise(frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The same rows with the work done so far behind them; the one thing that each engine calls differently."""
    kind, native = frame.implementation, frame.to_native()
    if kind.is_pyspark() or kind.is_pyspark_connect():
        return nw.from_native(native.localCheckpoint())
    if kind.is_duckdb():
        return nw.from_native(native.materialize() if hasattr(native, "materialize") else native.execute())
    return frame
