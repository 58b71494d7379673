"""Prepared data: a catalog, sequences and a split, in memory or memory-mapped from a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.catalog import Catalog
from recloom.data.files import folder_atomically
from recloom.data.items_table import read_items
from recloom.data.log import read_log
from recloom.data.sequences import Sequences, Split, make_split
from recloom.errors import InputError

FORMAT = 1


class Dataset:
    """A prepared event log.

    Attributes:
        catalog: items by index.
        sequences: everybody's actions.
        user_ids: `(n_users,)` external ids; user u of the model is `user_ids[u]`.
        split: which actions train, validate and test.
        report: what preparation read, dropped and found.
        path: the folder it was loaded from, or None.
    """

    def __init__(
        self,
        catalog: Catalog,
        sequences: Sequences,
        user_ids: NDArray[Any],
        split: Split,
        report: dict[str, Any],
        path: Path | None = None,
    ) -> None:
        self.sequences, self.user_ids, self.split, self.report, self.path = sequences, user_ids, split, report, path
        self.catalog = _counted(catalog, sequences, split)
        self._users: dict[Any, int] | None = None
        self._fingerprint: str | None = None

    def __repr__(self) -> str:
        n = len(self.sequences.items)
        return f"Dataset(users={self.n_users:,}, items={self.n_items:,}, actions={n:,}, split={self.split.name!r})"

    @property
    def n_users(self) -> int:
        return len(self.sequences)

    @property
    def n_items(self) -> int:
        return self.catalog.n_items

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of items, users, actions, attributes and split."""
        if self._fingerprint is None:
            digest = hashlib.sha256(self.catalog.fingerprint().encode())
            digest.update(json.dumps(self.user_ids.tolist()).encode())
            for array in (self.sequences.items, self.sequences.offsets, self.split.train_stop, self.split.test.stop):
                digest.update(np.ascontiguousarray(array))
            digest.update(json.dumps([self.split.name, self.split.options], default=str).encode())
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

    def user_index(self, user: Any) -> int:
        """The index of a user by external id; "12" finds 12 where ids are integers.

        Raises:
            InputError: nobody has this id.
        """
        if self._users is None:
            self._users = {name: index for index, name in enumerate(self.user_ids.tolist())}
        for key in (user, str(user), int(user) if isinstance(user, str) and user.lstrip("-").isdigit() else user):
            if key in self._users:
                return self._users[key]
        examples = ", ".join(map(repr, self.user_ids[:3].tolist()))
        raise InputError(f"user {user!r} is not in the data; its {self.n_users:,} users are such as {examples}")

    def with_split(self, name: str, **options: Any) -> Dataset:
        """The same log with another split."""
        split = make_split(name, self.sequences, **options)
        return Dataset(self.catalog, self.sequences, self.user_ids, split, self.report)

    def describe(self) -> dict[str, Any]:
        """Counts and shapes of the data, ready for a table."""
        lengths, catalog, n = self.sequences.lengths, self.catalog, len(self.sequences.items)
        repeats, repeaters = self._repeats()
        return {
            "users": self.n_users,
            "items": self.n_items,
            "actions": n,
            "mean_length": round(float(lengths.mean()), 2),
            "median_length": float(np.median(lengths)),
            "longest": int(lengths.max()),
            "sparsity": round(1 - n / (self.n_users * self.n_items), 6),
            "ties_in_time": self.report.get("ties", 0),
            "repeated_actions": repeats,
            "users_with_repeats": repeaters,
            "attributes": catalog.n_attributes,
            "mean_attributes": round(len(catalog.attribute_values) / max(self.n_items, 1), 2),
            "split": self.split.name,
            "validation_users": len(self.split.valid),
            "test_users": len(self.split.test),
            "fingerprint": self.fingerprint,
        }

    def _repeats(self) -> tuple[int, int]:
        """Actions that repeat an earlier item of their user, and users who have any."""
        users = np.repeat(np.arange(self.n_users), self.sequences.lengths)
        pairs = np.sort(users * (self.n_items + 1) + self.sequences.items)
        again = pairs[1:][pairs[1:] == pairs[:-1]]
        return len(again), len(np.unique(again // (self.n_items + 1)))

    def save(self, folder: str | Path) -> Path:
        """Write the data to a folder, whole or not at all, and map it from there from now on."""
        folder = Path(folder)
        if folder.exists() and not (folder / "data.json").exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists and is not prepared data; choose another folder")
        facts = {
            "format": FORMAT,
            "users": self.n_users,
            "items": self.n_items,
            "actions": len(self.sequences.items),
            "split": {"name": self.split.name, **_given(self.split)},
            "report": self.report,
            "fingerprint": self.fingerprint,
        }
        with folder_atomically(folder) as temporary:
            self.catalog.save(temporary)
            (temporary / "sequences").mkdir()
            for name in ("items", "offsets", "times"):
                array = getattr(self.sequences, name)
                if array is not None:
                    np.save(temporary / "sequences" / f"{name}.npy", array, allow_pickle=False)
            kind = pl.String if self.user_ids.dtype == object else pl.Int64
            pl.DataFrame({"user_id": pl.Series(self.user_ids.tolist(), dtype=kind)}).write_parquet(temporary / "users.parquet")
            (temporary / "data.json").write_text(json.dumps(facts, indent=1, default=str))
        self.path = folder
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Dataset:
        """Open prepared data; sequences are memory-mapped.

        Raises:
            InputError: the folder is not prepared data, is damaged, or of a later format.
        """
        folder = Path(folder)
        if not (folder / "data.json").exists():
            raise InputError(f"{folder} is not prepared data (no data.json); make it with `recloom prepare LOG -o {folder}`")
        try:
            facts = json.loads((folder / "data.json").read_text())
            arrays = {name: _mapped(folder / "sequences" / f"{name}.npy") for name in ("items", "offsets", "times")}
            users = pl.read_parquet(folder / "users.parquet")["user_id"]
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{folder}: the prepared data is damaged ({error}); prepare it again") from error
        if facts.get("format") != FORMAT:
            raise InputError(f"{folder / 'data.json'}: format {facts.get('format')!r}, this version reads {FORMAT}; prepare again")
        if arrays["items"] is None or arrays["offsets"] is None or len(arrays["items"]) != facts["actions"]:
            raise InputError(f"{folder}/sequences does not hold the {facts['actions']} actions of data.json; prepare again")
        sequences = Sequences(arrays["items"], np.asarray(arrays["offsets"]), arrays["times"])
        split = make_split(sequences=sequences, **facts["split"])
        ids = users.to_numpy() if users.dtype.is_integer() else np.array(users.to_list(), dtype=object)
        data = cls(Catalog.load(folder), sequences, ids, split, facts["report"], folder)
        if data.fingerprint != facts["fingerprint"]:
            raise InputError(f"{folder}: the files do not match the fingerprint in data.json; prepare again")
        return data


def prepare(
    source: Any,
    *,
    items: Any = None,
    user: str = "user_id",
    item: str = "item_id",
    time: str | None = "timestamp",
    attributes: Sequence[str] | None = None,
    title: str | None = None,
    min_user: int = 5,
    min_item: int = 5,
    duplicates: str = "keep",
    split: str = "leave-one-out",
    valid_at: Any = 0.8,
    test_at: Any = 0.9,
    out: str | Path | None = None,
) -> Dataset:
    """From an event log to data a method can train on.

    Args:
        source: the log, a path or a frame; see `recloom.data.log.read_log` for it and the column names.
        items: a table of items with attributes and titles; see `recloom.data.items_table.read_items`.
        attributes, title: its columns.
        min_user, min_item: the fewest actions of a user and of an item.
        duplicates: "keep" or "drop" exact repeats of a row.
        split: "leave-one-out" or "time"; `valid_at`, `test_at`: the cuts of the latter.
        out: also save to this folder.

    Raises:
        InputError: whatever cannot be used, with what was found and what to do.
    """
    log = read_log(source, user=user, item=item, time=time, min_user=min_user, min_item=min_item, duplicates=duplicates)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(log.users, minlength=len(log.user_ids)))]).astype(np.int64)
    sequences = Sequences(log.items + np.int32(1), offsets, log.times)
    catalog, report = Catalog(log.item_ids), dict(log.report)
    if items is not None:
        table = read_items(items, log.item_ids, item=item, attributes=attributes, title=title)
        catalog = Catalog(
            log.item_ids, table.titles, table.attribute_names, table.attribute_offsets, table.attribute_values
        )
        report["item_table"] = table.report
    elif attributes or title:
        raise InputError("attributes and title are columns of an item table; give it with items=...")
    options = {"valid_at": valid_at, "test_at": test_at} if split == "time" else {}
    data = Dataset(catalog, sequences, log.user_ids, make_split(split, sequences, **options), report)
    if out is not None:
        data.save(out)
    return data


def _mapped(file: Path) -> NDArray[Any] | None:
    return np.load(file, mmap_mode="r", allow_pickle=False) if file.exists() else None


def _given(split: Split) -> dict[str, Any]:
    """The options a split can be made again with."""
    return {name: value for name, value in split.options.items() if name in ("valid_at", "test_at")}


def _counted(catalog: Catalog, sequences: Sequences, split: Split) -> Catalog:
    """The catalog with the counts of this log and split."""
    trains = np.zeros(len(sequences.items) + 1, dtype=np.int64)
    np.add.at(trains, sequences.offsets[:-1], 1)
    np.add.at(trains, split.train_stop, -1)
    items = np.asarray(sequences.items)
    train = np.bincount(items[np.cumsum(trains)[:-1] > 0], minlength=catalog.n_rows)
    return replace(catalog, train_counts=train, all_counts=np.bincount(items, minlength=catalog.n_rows))
