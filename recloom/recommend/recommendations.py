"""What was recommended, to whom, and what had to be left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.catalog import Catalog

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Counts:
    """What could not be used.

    Args:
        users: histories that were asked.
        unknown_items: actions in them on items that the catalogue does not hold; ignored.
        fallbacks: histories without any known item; they got the most popular items.
        unread: histories of people who were not trained on, by a method that reads no histories; all got one list.
        unknown_allow, unknown_deny: ids in these lists that the catalogue does not hold; ignored.
    """

    users: int = 0
    unknown_items: int = 0
    fallbacks: int = 0
    unknown_allow: int = 0
    unknown_deny: int = 0
    unread: int = 0

    def and_then(self, part: Counts) -> Counts:
        """Of this and another part of the same call; ids of the lists are unknown to both alike."""
        return replace(
            part,
            users=self.users + part.users,
            unknown_items=self.unknown_items + part.unknown_items,
            fallbacks=self.fallbacks + part.fallbacks,
            unread=self.unread + part.unread,
        )

    @property
    def message(self) -> str:
        """One sentence, or "" where everything was used."""
        parts = []
        if self.fallbacks:
            parts.append(
                f"{self.fallbacks} of {self.users} histories hold no known item, so they get the most popular items"
            )
        if self.unread:
            parts.append(
                f"{self.unread} of {self.users} histories are of people who were not trained on, and the method reads "
                "no histories, so they get one list"
            )
        if self.unknown_items:
            parts.append(f"{self.unknown_items} actions on items that are not in the catalogue are ignored")
        for name, unknown in (("allow", self.unknown_allow), ("deny", self.unknown_deny)):
            if unknown:
                parts.append(f"{unknown} ids of {name} are not in the catalogue and are ignored")
        return "; ".join(parts)


class Labels:
    """External ids and titles of a catalogue as columns, made once when first asked for."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    @cached_property
    def ids(self) -> pl.Series:
        return pl.Series("item_id", self.catalog.item_ids.tolist())

    @cached_property
    def titles(self) -> pl.Series:
        ids = self.ids.cast(pl.String).rename("title")
        return ids if self.catalog.titles is None else pl.Series("title", self.catalog.titles).fill_null(ids)


@dataclass(frozen=True, eq=False)
class Recommendations:
    """Items for each history, best first; fewer than asked where no more may be recommended.

    Args:
        users: one id a history.
        indices: `(n_histories, k)` item indices, 0 behind the last item.
        values: `(n_histories, k)` float32 scores, minus infinity behind the last; a fallback's score is the number
            of training actions on the item.
        intents: `(n_histories, k)` which query of the history gave each item, -1 where none did; None where a
            history has one query only.
        fallback_rows: numbers of the histories that hold no known item.
        counts: what could not be used.
        labels: external ids and titles.
        titled: the frame has a column `title`.
    """

    users: Any
    indices: NDArray[np.int64]
    values: NDArray[np.float32]
    intents: NDArray[np.int16] | None
    fallback_rows: NDArray[np.int64]
    counts: Counts
    labels: Labels
    titled: bool = False

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Columns `user_id`, `item_id`, `score`, `rank` (from 1), with several intents `intent` (from 0, null for
        fallbacks), and `title` after `with_titles`. The histories keep their order."""
        rows, places = np.nonzero(self.indices)
        items = pl.Series(self.indices[rows, places] - 1)
        columns = [
            self._user_column().gather(rows),
            self.labels.ids.gather(items),
            pl.Series("score", self.values[rows, places], dtype=pl.Float32),
            pl.Series("rank", places + 1, dtype=pl.Int32),
        ]
        if self.intents is not None:
            intents = pl.Series("intent", self.intents[rows, places], dtype=pl.Int16)
            columns.append(intents.set(intents < 0, None))
        if self.titled:
            columns.append(self.labels.titles.gather(items))
        return pl.DataFrame(columns)

    def _user_column(self) -> pl.Series:
        if isinstance(self.users, pl.Series):
            return self.users.alias("user_id")
        users = self.users.tolist() if isinstance(self.users, np.ndarray) else self.users
        if isinstance(users, range) or not len(users):
            return pl.Series("user_id", users, dtype=pl.Int64)
        return pl.Series("user_id", users)

    @property
    def items(self) -> list[list[Any]]:
        """The external item ids of each history, best first."""
        ids = self.labels.catalog.item_ids
        return [ids[row[row > 0] - 1].tolist() for row in self.indices]

    @property
    def scores(self) -> list[list[float]]:
        """The scores of `items`."""
        return [values[row > 0].tolist() for row, values in zip(self.indices, self.values, strict=True)]

    @property
    def unknown_items(self) -> int:
        """Actions on items that the catalogue does not hold."""
        return self.counts.unknown_items

    @property
    def fallbacks(self) -> int:
        """Histories without any known item."""
        return self.counts.fallbacks

    @property
    def message(self) -> str:
        """One sentence about what could not be used, or ""."""
        return self.counts.message

    def with_titles(self) -> Recommendations:
        """The same, with a column `title` in the frame (the id where the catalogue has no title)."""
        return replace(self, titled=True)

    def to_pandas(self) -> pd.DataFrame:
        """The frame as a pandas one."""
        return self.frame.to_pandas()

    def __repr__(self) -> str:
        note = f"\n{self.message}" if self.message else ""
        return f"Recommendations for {self.counts.users} histories\n{self.frame}{note}"

    def _repr_html_(self) -> str:
        return self.frame._repr_html_()
