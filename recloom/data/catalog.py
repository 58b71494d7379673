"""The items: external ids, titles, attributes, counts. The model's items are 1..n."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.files import write_atomically, write_text_atomically
from recloom.data.stored import column_to_ids, read_json, read_parquet
from recloom.data.vocabulary import Vocabulary
from recloom.errors import InputError

PAD: int = 0
"""The index that stands for no item."""

FORMAT = 1
COLUMNS = ["item_id", "title", "attributes", "train_count", "all_count"]


def _no_integers() -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


@dataclass(eq=False)
class Catalog:
    """The items of a data set; item `i` of the model, `1 <= i <= n_items`, has the id `item_ids[i - 1]`.

    Args:
        item_ids: `(n_items,)` distinct external ids, int64 or text (object).
        titles: one for each item, None where unknown; None if no item has one.
        attribute_names: attribute `a` (1..n_attributes) is `attribute_names[a - 1]`.
        attribute_offsets: `(n_items + 3,)` int64; row `i` of 0..n_items + 1 holds
            `attribute_values[attribute_offsets[i]:attribute_offsets[i + 1]]`. The rows of PAD and mask are empty.
        attribute_values: int32 in 1..n_attributes, distinct and sorted within an item.
        train_counts, all_counts: `(n_items + 2,)` int64 actions on each item in the training part and in the whole
            log; 0 for PAD and mask.
        n_users: users of the data, for methods that learn a vector for each of them.

    Raises:
        InputError: arrays that do not fit together.
    """

    item_ids: NDArray[Any]
    titles: list[str | None] | None = None
    attribute_names: list[str] = field(default_factory=list)
    attribute_offsets: NDArray[np.int64] = field(default_factory=_no_integers)
    attribute_values: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    train_counts: NDArray[np.int64] = field(default_factory=_no_integers)
    all_counts: NDArray[np.int64] = field(default_factory=_no_integers)
    n_users: int = 0

    def __post_init__(self) -> None:
        self._ids = Vocabulary(self.item_ids)
        self.item_ids = self._ids.ids
        if not self.n_items:
            raise InputError("catalog: no items")
        for name, rows in (("attribute_offsets", self.n_rows + 1), ("train_counts", None), ("all_counts", None)):
            rows = rows or self.n_rows
            found = np.array(getattr(self, name), dtype=np.int64)
            if not len(found):
                found = np.zeros(rows, dtype=np.int64)
            if found.shape != (rows,):
                raise InputError(f"catalog: {name} has shape {found.shape}; {self.n_items} items need ({rows},)")
            setattr(self, name, found)
        self.attribute_values = np.asarray(self.attribute_values, dtype=np.int32)
        if self.titles is not None and len(self.titles) != self.n_items:
            raise InputError(f"catalog: {len(self.titles)} titles for {self.n_items} items")
        self._check_attributes()

    def _check_attributes(self) -> None:
        offsets, values = self.attribute_offsets, self.attribute_values
        if offsets[0] or offsets[-1] != len(values) or (np.diff(offsets) < 0).any():
            raise InputError(f"catalog: attribute_offsets do not rise from 0 to {len(values)}, the number of values")
        if offsets[1] or offsets[-2] != offsets[-1]:
            raise InputError("catalog: PAD and mask must have no attributes")
        if len(values) and not (values.min() >= 1 and values.max() <= self.n_attributes):
            raise InputError(f"catalog: attribute_values must lie in 1..{self.n_attributes}")

    def __repr__(self) -> str:
        return f"Catalog({self.n_items:,} items, {self.n_attributes:,} attributes, titles={self.titles is not None})"

    @property
    def n_items(self) -> int:
        """Real items."""
        return len(self.item_ids)

    @property
    def mask_id(self) -> int:
        """The index that hides an item."""
        return self.n_items + 1

    @property
    def n_rows(self) -> int:
        """Rows of a table over PAD, the items and mask."""
        return self.n_items + 2

    @property
    def trained(self) -> NDArray[np.bool_]:
        """`(n_rows,)`: which ids have an action in training, so that a vector of their own can be learnt; the mask too.

        All of them where the catalog holds no counts.
        """
        found = self.train_counts > 0 if self.train_counts.any() else np.ones(self.n_rows, dtype=bool)
        found[self.mask_id] = True
        return found

    @property
    def n_attributes(self) -> int:
        """Distinct attributes."""
        return len(self.attribute_names)

    def encode(self, ids: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """Item indices of external ids, `(len(ids),)` int64; 0 for an unknown id.

        Where ids are integers, text of the same digits is accepted; where they are text, integers are.
        """
        return self._ids.places(ids) + 1

    def decode(self, indices: Iterable[int] | NDArray[Any]) -> list[Any]:
        """External ids of item indices.

        Raises:
            InputError: PAD, mask or another index outside 1..n_items.
        """
        places = np.asarray(indices if isinstance(indices, np.ndarray) else list(indices), dtype=np.int64)
        return self.item_ids[self._checked(places) - 1].tolist()

    def title(self, index: int) -> str:
        """The title of an item; its id where it has none."""
        place = int(self._checked(np.asarray([index], dtype=np.int64))[0]) - 1
        title = None if self.titles is None else self.titles[place]
        return str(self.item_ids[place]) if title is None else title

    def attributes_of(self, index: int) -> list[str]:
        """The names of an item's attributes."""
        self._checked(np.asarray([index], dtype=np.int64))
        start, stop = self.attribute_offsets[index], self.attribute_offsets[index + 1]
        return [self.attribute_names[value - 1] for value in self.attribute_values[start:stop]]

    def _checked(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        wrong = indices[(indices < 1) | (indices > self.n_items)]
        if len(wrong):
            raise InputError(f"{int(wrong[0])} is no item; items are 1..{self.n_items} (0 pads, {self.mask_id} masks)")
        return indices

    def fingerprint(self) -> str:
        """A hash of the ids and attributes, by their order."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        found = hashlib.blake2b(digest_size=16)
        for part in (*([self.item_ids] if self._ids.integers else []), self.attribute_offsets, self.attribute_values):
            found.update(np.ascontiguousarray(part).tobytes())
            found.update(b"|")
        words = [] if self._ids.integers else self.item_ids.tolist()
        found.update(json.dumps([words, self.attribute_names]).encode())
        return found.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write `catalog.parquet` and `catalog.json` into a folder."""
        inner = slice(1, self.n_items + 1)
        attributes = pl.Series("attributes", self.attribute_values, dtype=pl.Int32)
        table = pl.DataFrame(
            {
                "item_id": pl.Series(self.item_ids.tolist(), dtype=pl.Int64 if self._ids.integers else pl.String),
                "title": pl.Series(self.titles or [None] * self.n_items, dtype=pl.String),
                "attributes": _as_lists(attributes, np.diff(self.attribute_offsets)[inner]),
                "train_count": self.train_counts[inner],
                "all_count": self.all_counts[inner],
            }
        )
        facts = {
            "format": FORMAT,
            "n_items": self.n_items,
            "n_users": self.n_users,
            "titles": self.titles is not None,
            "fingerprint": self.fingerprint(),
            "attribute_names": self.attribute_names,
        }
        write_atomically(Path(folder) / "catalog.parquet", lambda file: table.write_parquet(file))
        text = json.dumps(facts, ensure_ascii=False, indent=1)
        write_text_atomically(Path(folder) / "catalog.json", text)

    @classmethod
    def load(cls, folder: str | Path) -> Catalog:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing, damaged, or of another format.
        """
        facts = read_json(Path(folder) / "catalog.json", FORMAT)
        file = Path(folder) / "catalog.parquet"
        table = read_parquet(file, COLUMNS)
        try:
            lengths = table["attributes"].list.len().fill_null(0).to_numpy()
            values = table["attributes"].explode(empty_as_null=False, keep_nulls=False)
            pad = lambda counts: np.concatenate([[0], counts, [0]]).astype(np.int64)  # noqa: E731
            found = cls(
                item_ids=column_to_ids(table["item_id"]),
                titles=table["title"].to_list() if facts["titles"] else None,
                attribute_names=facts["attribute_names"],
                attribute_offsets=np.concatenate([[0], np.cumsum(pad(lengths))]).astype(np.int64),
                attribute_values=values.to_numpy().astype(np.int32),
                train_counts=pad(table["train_count"].to_numpy()),
                all_counts=pad(table["all_count"].to_numpy()),
                n_users=int(facts.get("n_users", 0)),
            )
        except (KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{file} is damaged or does not belong to catalog.json beside it: {error}") from error
        if found.fingerprint() != facts.get("fingerprint"):
            raise InputError(f"{file} is damaged or does not belong to catalog.json beside it; prepare the data again")
        return found


def _as_lists(values: pl.Series, lengths: NDArray[np.int64]) -> pl.Series:
    """A flat column cut into lists."""
    import pyarrow as pa

    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
    return pl.Series(values.name, pa.LargeListArray.from_arrays(offsets, values.to_arrow()))
