"""The table of items beside a log: attributes as sets, and titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.sources import collect, open_source, select
from recloom.errors import InputError

USUAL = ("attributes", "genres", "categories", "category", "brand")
"""Columns read as attributes when none are named."""


@dataclass(frozen=True)
class ItemTable:
    """What is known of items besides actions.

    Args:
        titles: one a catalogue item, None where unknown; None without a title column.
        attribute_names: sorted.
        attribute_offsets: int64 `(n_items + 3,)`, for padding, the items and the mask.
        attribute_values: int32, 1..n_attributes, distinct and sorted within an item.
        report: items without a row, rows of items outside the log.
    """

    titles: list[str | None] | None
    attribute_names: list[str]
    attribute_offsets: NDArray[np.int64]
    attribute_values: NDArray[np.int32]
    report: dict[str, Any]


def read_items(
    source: Any,
    item_ids: NDArray[Any],
    *,
    item: str = "item_id",
    attributes: Sequence[str] | None = None,
    title: str | None = None,
) -> ItemTable:
    """Read an item table for the items of a log.

    Args:
        source: a path or a frame, as for a log.
        item_ids: the catalogue's sorted ids.
        item: the id column.
        attributes: list columns or scalar columns; `USUAL` ones if None. With several columns a value is named
            "column=value", so that equal values of two columns stay apart.
        title: the title column; "title" where there is one if None.
    """
    lazy, name = open_source(source)
    try:
        found = lazy.collect_schema().names()
    except Exception as error:
        raise InputError(f"{name}: cannot be read ({type(error).__name__}: {error})") from error
    columns = [column for column in USUAL if column in found] if attributes is None else list(attributes)
    title = "title" if title is None and "title" in found else title
    wanted = {"item_id": item} | {f"attributes:{column}": column for column in columns}
    frame = collect(select(lazy, wanted | ({"title": title} if title else {}), name), name).drop_nulls("item_id")
    ids = pl.Series(item_ids.tolist(), dtype=pl.String if item_ids.dtype == object else pl.Int64)
    try:
        frame = frame.with_columns(frame["item_id"].cast(ids.dtype))
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{name}: {item!r} holds ids unlike the log's ({error})") from error
    repeated = int(frame["item_id"].is_duplicated().sum())
    if repeated:
        raise InputError(f"{name}: {repeated} rows share an item id with another row; keep one row an item")
    places = pl.DataFrame({"item_id": ids, "index": np.arange(1, len(ids) + 1)})
    known = places.join(frame, on="item_id", how="left", maintain_order="left", coalesce=True)
    present = int(frame["item_id"].is_in(ids.implode()).sum())
    report = {"items_without_a_row": len(ids) - present, "rows_outside_the_log": len(frame) - present}
    names, offsets, values = _sets(known, columns, name)
    titles = known["title"].cast(pl.String).to_list() if title else None
    return ItemTable(titles, names, offsets, values, report)


def _sets(
    known: pl.DataFrame, columns: list[str], name: str
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int32]]:
    """Attribute names and, for each item, its sorted distinct values."""
    pairs = []
    for column in columns:
        values = known.select("index", value=pl.col(f"attributes:{column}"))
        if isinstance(values["value"].dtype, (pl.List, pl.Array)):
            values = values.explode("value")
        elif values["value"].dtype.is_nested():
            raise InputError(f"{name}: attribute column {column!r} is of type {values['value'].dtype}; give text or lists")
        values = values.drop_nulls().with_columns(pl.col("value").cast(pl.String))
        pairs.append(values.with_columns(column + "=" + pl.col("value")) if len(columns) > 1 else values)
    offsets = np.zeros(len(known) + 3, dtype=np.int64)
    if not pairs:
        return [], offsets, np.zeros(0, dtype=np.int32)
    frame = pl.concat(pairs).unique()
    names = frame["value"].unique().to_list()
    names.sort(key=lambda text: (int(text), "") if text.lstrip("-").isdigit() else (1 << 62, text))
    code = pl.DataFrame({"value": names, "code": np.arange(1, len(names) + 1, dtype=np.int32)}, schema_overrides={"value": pl.String})
    frame = frame.join(code, on="value").sort("index", "code")
    offsets[1:] = np.cumsum(np.bincount(frame["index"].to_numpy(), minlength=len(known) + 2))
    return names, offsets, frame["code"].to_numpy().astype(np.int32)


