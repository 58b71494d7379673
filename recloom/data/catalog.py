"""Items by index: external ids, titles, attributes and counts. Saved with every run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.files import write_atomically
from recloom.errors import InputError

PAD = 0
"""The index of padding; items are 1..n, and n + 1 is the mask."""

FORMAT = 1


def _no_attributes() -> NDArray[np.int32]:
    return np.zeros(0, dtype=np.int32)


@dataclass
class Catalog:
    """The items of a data set.

    Args:
        item_ids: `(n_items,)` external ids, int64 or object (str), sorted; item i is `item_ids[i - 1]`.
        titles: one a item, or None.
        attribute_names: attribute a (1..n_attributes) is `attribute_names[a - 1]`.
        attribute_offsets: `(n_items + 3,)` int64, rows 0..n_items + 1; padding and mask have none.
        attribute_values: int32, distinct and sorted within an item.
        train_counts: `(n_items + 2,)` actions of each item in the training part.
        all_counts: `(n_items + 2,)` actions in the whole log, held-out ones included.
    """

    item_ids: NDArray[Any]
    titles: list[str | None] | None = None
    attribute_names: list[str] = field(default_factory=list)
    attribute_offsets: NDArray[np.int64] | None = None
    attribute_values: NDArray[np.int32] = field(default_factory=_no_attributes)
    train_counts: NDArray[np.int64] | None = None
    all_counts: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.attribute_offsets is None:
            self.attribute_offsets = np.zeros(self.n_items + 3, dtype=np.int64)
        for name in ("train_counts", "all_counts"):
            if getattr(self, name) is None:
                setattr(self, name, np.zeros(self.n_rows, dtype=np.int64))

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @property
    def n_rows(self) -> int:
        """Rows of an item table: padding, the items, the mask."""
        return self.n_items + 2

    @property
    def mask_id(self) -> int:
        return self.n_items + 1

    @property
    def n_attributes(self) -> int:
        return len(self.attribute_names)

    @cached_property
    def _index(self) -> dict[Any, int]:
        return {item: i for i, item in enumerate(self.item_ids.tolist(), 1)}

    def encode(self, ids: Iterable[Any]) -> NDArray[np.int64]:
        """Indices of external ids, 0 for an unknown one; "12" finds 12 in a catalog of integers, and back."""
        index = self._index
        if self.item_ids.dtype == object:
            return np.array([index.get(item if isinstance(item, str) else str(item), 0) for item in ids], dtype=np.int64)
        return np.array([index.get(_integer(item) if isinstance(item, str) else item, 0) for item in ids], dtype=np.int64)

    def decode(self, indices: Iterable[int]) -> list[Any]:
        """External ids of indices 1..n_items."""
        at = np.asarray(indices, dtype=np.int64)
        if at.size and (at.min() < 1 or at.max() > self.n_items):
            raise InputError(f"item indices run from 1 to {self.n_items}; {at.min()}..{at.max()} holds padding or mask")
        return self.item_ids[at - 1].tolist()  # type: ignore[no-any-return]

    def title(self, index: int) -> str:
        """The title of an item, or its id where it has none."""
        title = self.titles[index - 1] if self.titles is not None else None
        return title if title is not None else str(self.item_ids[index - 1])

    def attributes_of(self, index: int) -> list[str]:
        """The names of an item's attributes."""
        assert self.attribute_offsets is not None
        values = self.attribute_values[self.attribute_offsets[index] : self.attribute_offsets[index + 1]]
        return [self.attribute_names[value - 1] for value in values]

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the ids, their order and their attributes."""
        digest = hashlib.sha256()
        for part in (json.dumps(self.item_ids.tolist()), json.dumps(self.attribute_names)):
            digest.update(part.encode())
        assert self.attribute_offsets is not None
        digest.update(self.attribute_offsets.tobytes() + self.attribute_values.tobytes())
        return digest.hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Write `catalog.parquet` and `catalog.json`."""
        assert self.attribute_offsets is not None and self.train_counts is not None and self.all_counts is not None
        attributes = np.split(self.attribute_values, self.attribute_offsets[2:-2])
        frame = pl.DataFrame(
            {
                "item_id": pl.Series(self.item_ids.tolist(), dtype=pl.String if self.item_ids.dtype == object else pl.Int64),
                "title": pl.Series(self.titles or [None] * self.n_items, dtype=pl.String),
                "attributes": pl.Series([a.tolist() for a in attributes[: self.n_items]], dtype=pl.List(pl.Int32)),
                "train_count": self.train_counts[1:-1],
                "all_count": self.all_counts[1:-1],
            }
        )
        facts = {"format": FORMAT, "n_items": self.n_items, "titles": self.titles is not None, "attributes": self.attribute_names}
        write_atomically(folder / "catalog.parquet", frame.write_parquet)
        write_atomically(folder / "catalog.json", lambda file: file.write_text(json.dumps(facts, ensure_ascii=False)))

    @classmethod
    def load(cls, folder: Path) -> Catalog:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing, damaged or of a later format.
        """
        try:
            facts = json.loads((folder / "catalog.json").read_text())
            frame = pl.read_parquet(folder / "catalog.parquet")
        except FileNotFoundError as error:
            raise InputError(f"{folder}: no catalog here ({Path(error.filename or '').name} is missing)") from error
        except Exception as error:
            raise InputError(f"{folder}: the catalog is damaged ({error}); prepare or train again") from error
        if facts["format"] != FORMAT or facts["n_items"] != len(frame):
            raise InputError(f"{folder / 'catalog.json'}: format {facts['format']} with {facts['n_items']} items does not fit")
        lists = frame["attributes"]
        lengths = lists.list.len().to_numpy().astype(np.int64)
        values = lists.explode(empty_as_null=False).to_numpy().astype(np.int32) if lengths.sum() else _no_attributes()
        ids = frame["item_id"].to_numpy()
        return cls(
            ids.astype(np.int64) if frame["item_id"].dtype.is_integer() else ids.astype(object),
            frame["title"].to_list() if facts["titles"] else None,
            facts["attributes"],
            np.concatenate([[0, 0], np.cumsum(lengths), [lengths.sum()]]).astype(np.int64),
            values,
            np.pad(frame["train_count"].to_numpy().astype(np.int64), 1),
            np.pad(frame["all_count"].to_numpy().astype(np.int64), 1),
        )


def _integer(text: str) -> Any:
    """A whole number written as text, else the text."""
    try:
        return int(text)
    except ValueError:
        return text
