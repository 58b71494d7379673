"""The table of items: titles and attributes, from any file or frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.catalog import Catalog
from recloom.data.columns import canonical_ids, check_columns
from recloom.data.sources import check_lines, collect, open_source
from recloom.data.stored import column_to_ids
from recloom.data.vocabulary import Vocabulary
from recloom.errors import InputError

DEFAULT_ATTRIBUTES = ("attributes", "genres", "categories", "category", "brand")
DEFAULT_TITLE = "title"


@dataclass(eq=False)
class ItemsTable:
    """What is known of items.

    Args:
        ids: `(n,)` Int64 or String, without nulls; an id may occur several times.
        titles: `(n,)` String, with nulls; None without such a column.
        attributes: distinct pairs `row` (place in `ids`) and `attribute` (String).
        report: counts of what was read and dropped.
    """

    ids: pl.Series
    titles: pl.Series | None
    attributes: pl.DataFrame
    report: dict[str, Any] = field(default_factory=dict)


def read_items(
    source: Any, item: str = "item_id", attributes: Sequence[str] | None = None, title: str | None = None
) -> ItemsTable:
    """Read a table of items.

    Args:
        source: as in `read_log`.
        item: the column of ids; "item_id" where there is no such column, as a log may have another name for it.
        attributes: columns of lists, or of single values; text with `|` between values is a list. Values of several
            columns are written `column=value`, so that they stay apart. None: those of `attributes`, `genres`,
            `categories`, `category` and `brand` that exist; an empty list: none.
        title: the column of titles. None: `title`, if it exists.

    Raises:
        InputError: a missing column, no rows, or values that are no attributes.
    """
    opened = open_source(source, "items")
    existing = opened.columns
    item = "item_id" if item not in existing and "item_id" in existing else item
    if isinstance(attributes, str):
        attributes = [attributes]
    chosen = [name for name in DEFAULT_ATTRIBUTES if name in existing] if attributes is None else list(attributes)
    title = DEFAULT_TITLE if title is None and DEFAULT_TITLE in existing else title
    check_columns(opened, {"item": item, "title": title})
    missing = next((name for name in chosen if name not in existing), None)
    if missing is not None:
        check_columns(opened, {"attributes": missing})
    wanted = list(dict.fromkeys([item, *([title] if title else []), *chosen]))
    table, _ = collect(opened.frame.select(wanted), opened.name)
    if not table.height:
        raise InputError(f"{opened.name} has no rows")
    if opened.text:
        check_lines(table, [item], opened)
    ids, _ = canonical_ids(table[item], "item")
    report = {"rows_read": table.height, "nulls_dropped": ids.null_count(), "attribute_columns": chosen, "title": title}
    if ids.null_count():
        table, ids = table.filter(ids.is_not_null()), ids.drop_nulls()
    pairs = [_values(table[name].rename(name), f"{name}=" if len(chosen) > 1 else "") for name in chosen]
    found = pl.concat(pairs).unique() if pairs else pl.DataFrame(schema={"row": pl.UInt32, "attribute": pl.String})
    if title and (table[title].dtype.is_nested() or table[title].dtype in (pl.Binary, pl.Object)):
        raise InputError(f"items: column {title!r} holds {table[title].dtype}; a title is one text (--title COLUMN)")
    titles = table[title].cast(pl.String) if title else None
    return ItemsTable(ids, titles, found, report)


def _values(column: pl.Series, prefix: str) -> pl.DataFrame:
    """The values of one column as pairs of row and text; empty ones are left out."""
    name, dtype = column.name, column.dtype
    if dtype == pl.String and column.str.contains("|", literal=True).any():
        column = column.str.split("|")
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    pairs = pl.DataFrame({"row": pl.Series(range(len(column)), dtype=pl.UInt32), "attribute": column})
    if isinstance(column.dtype, pl.List):
        pairs = pairs.filter(pl.col("attribute").list.len() > 0).explode("attribute")
    values = pairs["attribute"]
    if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Object):
        raise InputError(f"items: column {name!r} holds {dtype}; attributes are single values or lists of them")
    if values.dtype.is_float():
        whole = values.cast(pl.Int64, strict=False)
        pairs = pairs.with_columns(whole if (whole.cast(values.dtype) == values).all() else values.fill_nan(None))
    text = pl.col("attribute").cast(pl.String).str.strip_chars()
    pairs = pairs.with_columns(text).filter(pl.col("attribute").str.len_bytes() > 0)
    return pairs.with_columns((prefix + pl.col("attribute")).alias("attribute"))


def build_catalog(
    item_ids: NDArray[Any], all_counts: NDArray[np.int64], table: ItemsTable | None
) -> tuple[Catalog, dict[str, Any]]:
    """The catalog of the items of a log, with what a table knows of them, and a report.

    Args:
        item_ids: `(n_items,)` sorted ids.
        all_counts: `(n_items + 2,)` actions on each.

    Raises:
        InputError: the table knows none of the items.
    """
    if table is None:
        return Catalog(item_ids, all_counts=all_counts), {}
    places = Vocabulary(item_ids).places(column_to_ids(table.ids))
    known = places >= 0
    if not known.any():
        raise InputError(
            f"items: none of its {len(places):,} ids is in the log; they look like {table.ids[0]!r}, those of the log "
            f"like {item_ids[0]!r}. Is item=... the right column?"
        )
    titles: list[str | None] | None = None
    if table.titles is not None:
        titles = [None] * len(item_ids)
        for place, text in zip(places[known][::-1].tolist(), table.titles.filter(known).to_list()[::-1], strict=True):
            titles[place] = text if text is not None else titles[place]
    names, offsets, values = _csr(table.attributes, places, len(item_ids))
    catalog = Catalog(item_ids, titles, names, offsets, values, all_counts=all_counts)
    described = len(np.unique(places[known]))
    report = {
        **table.report,
        "items_without_row": len(item_ids) - described,
        "rows_of_the_same_item": int(known.sum()) - described,
        "not_in_the_prepared_log": int((~known).sum()),
    }
    return catalog, report


def _csr(
    pairs: pl.DataFrame, places: NDArray[np.int64], n_items: int
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int32]]:
    """Attribute names, offsets and values of the catalog's items."""
    pairs = pairs.select(pl.Series("item", places)[pairs["row"]] + 1, "attribute").filter(pl.col("item") > 0).unique()
    names = _sorted_names(pairs["attribute"].unique())
    codes = pl.Series(np.arange(1, len(names) + 1, dtype=np.int32))
    values = pairs["attribute"].replace_strict(pl.Series(names, dtype=pl.String), codes, return_dtype=pl.Int32)
    pairs = pairs.select("item", values).sort("item", "attribute")
    offsets = np.zeros(n_items + 3, dtype=np.int64)
    np.cumsum(np.bincount(pairs["item"].to_numpy(), minlength=n_items + 2), out=offsets[1:])
    return names, offsets, pairs["attribute"].to_numpy()


def _sorted_names(names: pl.Series) -> list[str]:
    """By value if all are integers, else by text."""
    number = names.cast(pl.Int64, strict=False)
    if number.null_count():
        return names.sort().to_list()
    return pl.DataFrame({"name": names, "number": number}).sort("number", "name")["name"].to_list()
