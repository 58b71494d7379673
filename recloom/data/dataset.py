"""Prepared data: a checked log with its catalog and split, in memory or memory-mapped from a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.catalog import Catalog
from recloom.data.files import folder_atomically
from recloom.data.items_table import build_catalog, read_items
from recloom.data.log import read_log
from recloom.data.sequences import Sequences, Split, by_time, cut_at, leave_one_out, nothing_held_out, places_of
from recloom.data.stored import DATA, column_to_ids, free_for_data, read_array, read_json, read_parquet
from recloom.data.vocabulary import Vocabulary
from recloom.errors import InputError

FORMAT = 1
SPLITS = ("leave-one-out", "time", "none")


@dataclass(eq=False)
class Dataset:
    """Prepared data.

    Args:
        catalog: the items; `train_counts` belong to `split`.
        sequences: what every user did, in order.
        user_ids: `(n_users,)` external ids, int64 or text (object), sorted.
        split: what is learnt from and what is held out.
        report: what reading dropped, filtered and found.
        path: the folder it was saved in or read from.
    """

    catalog: Catalog
    sequences: Sequences
    user_ids: NDArray[Any]
    split: Split
    report: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        self._users = Vocabulary(self.user_ids, "user")
        self.user_ids = self._users.ids

    def __repr__(self) -> str:
        counts = f"{self.n_users:,} users, {self.n_items:,} items, {len(self.sequences.items):,} actions"
        return f"Dataset({counts}, split={self.split.name!r}, path={None if self.path is None else str(self.path)!r})"

    @property
    def n_users(self) -> int:
        """Users."""
        return len(self.sequences)

    @property
    def n_items(self) -> int:
        """Items."""
        return self.catalog.n_items

    @cached_property
    def fingerprint(self) -> str:
        """A hash of items, offsets, ids, attributes and split: equal for equal data from any source."""
        found = hashlib.blake2b(digest_size=16)
        split = self.split
        arrays = [self.sequences.items, self.sequences.offsets, split.train_stop]
        for part in (split.valid, split.test):
            arrays += [part.users, part.stop, part.target_stop]
        for array in arrays:
            found.update(np.ascontiguousarray(array).data)
            found.update(b"|")
        found.update(json.dumps([self.catalog.fingerprint(), split.name], sort_keys=True).encode())
        return found.hexdigest()

    @cached_property
    def users_fingerprint(self) -> str:
        """A hash of the user ids, by their order."""
        return hashlib.blake2b(json.dumps(self.user_ids.tolist()).encode(), digest_size=16).hexdigest()

    def identity(self) -> dict[str, Any]:
        """What a result says of its data: fingerprint, counts and the name of the split."""
        return {
            "fingerprint": self.fingerprint,
            "users": self.n_users,
            "items": self.n_items,
            "actions": len(self.sequences.items),
            "split": self.split.name,
        }

    def user_index(self, user: Any) -> int:
        """The number of a user.

        Raises:
            InputError: nobody has this id.
        """
        place = int(self._users.places([user])[0])
        if place < 0:
            raise InputError(
                f"user {user!r} is not in the data ({self.n_users:,} users, such as {self.user_ids[:1].tolist()[0]!r})"
            )
        return place

    def describe(self) -> dict[str, Any]:
        """Counts that say what the data are like, for people and JSON."""
        lengths, items = self.sequences.lengths, self.sequences.items
        sizes = np.diff(self.catalog.attribute_offsets)[1:-1]
        split = self.split
        return {
            "users": self.n_users,
            "items": self.n_items,
            "actions": len(items),
            "mean_length": round(float(lengths.mean()), 2),
            "median_length": float(np.median(lengths)),
            "min_length": int(lengths.min()),
            "max_length": int(lengths.max()),
            "sparsity": 1 - (len(items) - self._repeats["actions"]) / (self.n_users * self.n_items),
            "ties": self.report.get("ties", 0),
            "tie_rule": self.report.get("tie_rule", ""),
            "repeats": self._repeats,
            "attributes": {
                "distinct": self.catalog.n_attributes,
                "mean_per_item": round(float(sizes.mean()), 2),
                "items_without": int((sizes == 0).sum()),
            },
            "titles": self.catalog.titles is not None,
            "split": split.name,
            "split_options": split.options,
            "train_actions": int(self.catalog.train_counts.sum()),
            "valid_users": len(split.valid),
            "test_users": len(split.test),
            "without_target": split.without_target,
        }

    @cached_property
    def _repeats(self) -> dict[str, int]:
        """Actions on an item that the user had before, and users with such."""
        users = np.repeat(np.arange(self.n_users, dtype=np.int64), self.sequences.lengths)
        pairs = np.sort(users * self.catalog.n_rows + self.sequences.items)  # np.unique hashes, ten times slower
        again = pairs[1:][pairs[1:] == pairs[:-1]] // self.catalog.n_rows
        extra = np.bincount(again, minlength=self.n_users)
        return {"actions": int(extra.sum()), "users": int((extra > 0).sum())}

    def with_split(self, name: str, **options: Any) -> Dataset:
        """The same data split in another way; `options` are `valid_at` and `test_at` of `by_time`."""
        split = make_split(self.sequences, name, **options)
        return _assembled(self.catalog, self.sequences, self.user_ids, split, self.report)

    def save(self, folder: str | Path) -> Path:
        """Write the data to a folder, whole or not at all; older prepared data there are replaced.

        Raises:
            InputError: the folder holds something else.
        """
        target = free_for_data(folder)
        with folder_atomically(target) as temporary:
            (temporary / "sequences").mkdir()
            for name in ("items", "offsets", "times"):
                if (array := getattr(self.sequences, name)) is not None:
                    np.save(temporary / "sequences" / f"{name}.npy", array, allow_pickle=False)
            dtype = pl.Int64 if self._users.integers else pl.String
            users = pl.Series("user_id", self.user_ids.tolist(), dtype=dtype)
            pl.DataFrame([users]).write_parquet(temporary / "users.parquet")
            self.catalog.save(temporary)
            facts = {
                "format": FORMAT,
                "fingerprint": self.fingerprint,
                "counts": {"users": self.n_users, "items": self.n_items, "actions": len(self.sequences.items)},
                "times": self.sequences.times is not None,
                "split": {"name": self.split.name, "options": self.split.options},
                "report": self.report,
            }
            (temporary / DATA).write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")
        self.path = target
        return target

    @classmethod
    def load(cls, folder: str | Path) -> Dataset:
        """Open what `save` wrote; the sequences stay on disk, memory-mapped.

        Raises:
            InputError: the folder is missing or no prepared data, or a file in it is missing or damaged.
        """
        path = Path(folder).expanduser()
        if path.is_file():
            raise InputError(
                f"{path} is a file, no prepared data; `recloom prepare {path} -o DATA` makes some of a log"
            )
        if not path.is_dir():
            raise InputError(f"there is no folder {path}; `recloom prepare LOG -o {path}` makes one")
        if not (path / DATA).is_file():
            raise InputError(f"{path} is no prepared data: it has no {DATA}; `recloom prepare LOG -o DATA` makes some")
        facts = read_json(path / DATA, FORMAT)
        try:
            counts, options = facts["counts"], facts["split"]["options"]
            wanted = {"items": ("int32", counts["actions"]), "offsets": ("int64", counts["users"] + 1)}
            wanted |= {"times": ("", counts["actions"])} if facts["times"] else {}
            arrays = {name: read_array(path / "sequences" / f"{name}.npy", *shape) for name, shape in wanted.items()}
            sequences, catalog = Sequences(**arrays), Catalog.load(path)
            user_ids = column_to_ids(read_parquet(path / "users.parquet", ["user_id"])["user_id"])
            _check(path, sequences, len(user_ids), catalog.n_items, counts)
            cuts = {"valid_cut", "test_cut"} & set(options)
            split = (
                cut_at(sequences, options["valid_cut"], options["test_cut"], options)
                if cuts
                else make_split(sequences, facts["split"]["name"], **options)
            )
            found = cls(catalog, sequences, user_ids, split, facts["report"], path)
        except (KeyError, TypeError) as error:
            raise InputError(f"{path / DATA} is damaged ({error!r}); prepare the data again") from error
        if found.fingerprint != facts["fingerprint"]:
            raise InputError(f"{path} is damaged: its files do not fit its fingerprint; prepare the data again")
        return found


def _check(path: Path, sequences: Sequences, n_users: int, n_items: int, counts: dict[str, int]) -> None:
    """Refuse files of different data."""
    offsets = sequences.offsets
    if offsets[0] != 0 or offsets[-1] != len(sequences.items) or (np.diff(offsets) < 1).any():
        raise InputError(f"{path / 'sequences' / 'offsets.npy'} is damaged: it does not rise to the number of actions")
    if n_users != counts["users"]:
        raise InputError(f"{path / 'users.parquet'} holds {n_users} users, but {DATA} says {counts['users']}")
    if n_items != counts["items"]:
        raise InputError(f"{path / 'catalog.parquet'} holds {n_items} items, but {DATA} says {counts['items']}")


def make_split(sequences: Sequences, name: str, **options: Any) -> Split:
    """A split by name: "leave-one-out", "none", or "time" with `valid_at` and `test_at`."""
    if name not in SPLITS:
        raise InputError(f"split={name!r} is not known; choose one of {', '.join(SPLITS)}")
    unknown = set(options) - {"valid_at", "test_at"} if name == "time" else set(options)
    if unknown:
        raise InputError(f"split={name!r} does not take {', '.join(sorted(unknown))}")
    if name == "time":
        return by_time(sequences, **options)
    return leave_one_out(sequences) if name == "leave-one-out" else nothing_held_out(sequences)


def _assembled(
    catalog: Catalog, sequences: Sequences, user_ids: NDArray[Any], split: Split, report: dict[str, Any]
) -> Dataset:
    """A data set whose catalog counts the training part of its split."""
    held_out = sequences.offsets[1:] - split.train_stop
    held_items = sequences.items[places_of(split.train_stop, held_out)]
    train_counts = catalog.all_counts - np.bincount(held_items, minlength=catalog.n_rows)
    counted = Catalog(
        catalog.item_ids,
        catalog.titles,
        catalog.attribute_names,
        catalog.attribute_offsets,
        catalog.attribute_values,
        train_counts,
        catalog.all_counts,
        len(sequences),
    )
    return Dataset(counted, sequences, user_ids, split, report)


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
    valid_at: Any = None,
    test_at: Any = None,
    out: str | Path | None = None,
) -> Dataset:
    """Turn a log of actions into prepared data.

    Args:
        source: a path (CSV, TSV or Parquet; one file, a pattern or a folder) or a pandas, Polars, Arrow, DuckDB or
            Spark frame with one action a row.
        items: a table of items of any of these kinds, with titles and attributes.
        user, item, time: columns of the log; `item` also of the table. `time=None`: rows are already in order.
        attributes, title: columns of the table; see `recloom.data.items_table.read_items`.
        min_user, min_item: fewest actions of a user and of an item; removed in turn until none is left.
        duplicates: "keep" or "drop" rows equal in user, item and time.
        split: "leave-one-out"; "time": one cut for everybody, at `valid_at` and `test_at`, see `by_time`; or "none":
            everything is learnt from and nothing evaluated.
        out: a folder to save the result in.

    Raises:
        InputError: the log, the table or an option cannot be used; the message says why and what to do.
    """
    if split not in SPLITS:
        raise InputError(f"split={split!r} is not known; choose one of {', '.join(SPLITS)}")
    options = {name: at for name, at in (("valid_at", valid_at), ("test_at", test_at)) if at is not None}
    if options and split != "time":
        raise InputError(f"{' and '.join(options)} cut by time, but split={split!r}; say split='time'")
    if out is not None:
        free_for_data(out)
    if items is None and (attributes or title):
        raise InputError("attributes and title are columns of a table of items; give it with items=...")
    table = None if items is None else read_items(items, item, attributes, title)
    log = read_log(source, user=user, item=item, time=time, min_user=min_user, min_item=min_item, duplicates=duplicates)
    sequences = Sequences(log.items, log.offsets, log.times)
    catalog, facts = build_catalog(log.item_ids, np.bincount(log.items, minlength=len(log.item_ids) + 2), table)
    report = {**log.report, **({"items": facts} if facts else {})}
    data = _assembled(catalog, sequences, log.user_ids, make_split(sequences, split, **options), report)
    if out is not None:
        data.save(out)
    return data
