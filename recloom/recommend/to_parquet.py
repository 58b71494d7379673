"""Recommendations for any number of users, written part by part."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import pyarrow as pa
import pyarrow.parquet as pq

from recloom.data.catalog import Catalog
from recloom.data.files import write_atomically
from recloom.errors import InputError
from recloom.recommend.histories import NO_LISTS, Histories, read_histories
from recloom.recommend.recommendations import Counts, Recommendations

ROWS_PER_PART = 1 << 20
"""Recommended items in one part, which is one row group of the file."""

PLAIN = {pa.large_string(): pa.string(), pa.string_view(): pa.string()}


@dataclass(frozen=True)
class Written:
    """A file of recommendations.

    Args:
        path: the file.
        rows: recommended items in it.
        counts: what could not be used.
    """

    path: Path
    rows: int
    counts: Counts

    @property
    def message(self) -> str:
        """One sentence about what could not be used, or ""."""
        return self.counts.message


def parts(histories: Any, catalog: Catalog, user_ids: Iterable[Any] | None, k: int) -> Iterator[Histories]:
    """Histories in parts of like size, at least one; an iterable is read no further than its part.

    Raises:
        InputError: as `read_histories`, or more or fewer user ids than histories.
    """
    size = max(1, min(65_536, ROWS_PER_PART // k))
    frame = nw.from_native(histories, pass_through=True)
    if isinstance(frame, (nw.DataFrame, nw.LazyFrame, Histories, *NO_LISTS)) or not isinstance(histories, Iterable):
        whole = read_histories(histories, catalog, user_ids)
        yield from (whole.part(start, start + size) for start in range(0, max(len(whole), 1), size))
        return
    rows, users, first = iter(histories), None if user_ids is None else iter(user_ids), 0
    while (part := list(itertools.islice(rows, size))) or not first:
        names = None if users is None else list(itertools.islice(users, len(part)))
        yield read_histories(part, catalog, names, first)
        if not part:
            break
        first += len(part)
    if users is not None and next(users, None) is not None:
        raise InputError("user_ids has more ids than there are histories; give one id a history")


def write_parquet(file: Path, found: Iterable[Recommendations]) -> Written:
    """Write each part as a row group; the file appears when all are written."""
    rows, totals = 0, Counts()

    def write(temporary: Path) -> None:
        nonlocal rows, totals
        writer = None
        try:
            for part in found:
                table = _table(part, writer.schema if writer else None)
                writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
                writer.write_table(table)
                rows, totals = rows + table.num_rows, totals.and_then(part.counts)
        finally:
            if writer:
                writer.close()

    write_atomically(file, write)
    return Written(file, rows, totals)


def _table(part: Recommendations, schema: pa.Schema | None) -> pa.Table:
    table = part.frame.to_arrow()
    if schema is None:
        schema = pa.schema([(field.name, PLAIN.get(field.type, field.type)) for field in table.schema])
    try:
        return table.cast(schema)
    except pa.ArrowInvalid as error:
        raise InputError(f"user_ids changes its type from {schema.field('user_id').type}; give one type") from error
