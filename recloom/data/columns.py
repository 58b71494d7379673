"""Find the columns of a log and read its ids."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.sources import Source
from recloom.data.stored import column_to_ids
from recloom.errors import InputError

OTHER_NAMES = {
    "user": "user userid uid customer customerid visitor visitorid member memberid account reviewerid session "
    "sessionid",
    "item": "item itemid product productid article articleid movie movieid asin parentasin sku track trackid song "
    "songid book bookid business businessid artist artistid",
    "time": "time timestamp date datetime day ts eventtime createdat unixreviewtime reviewtime when",
}


def check_columns(source: Source, wanted: dict[str, str | None]) -> None:
    """Refuse a table without the wanted columns.

    Args:
        wanted: option ("user", "item", "time", ...) -> column; None where it is not used.

    Raises:
        InputError: names the column, those that exist, the likely one and the option that chooses it.
    """
    existing = source.columns
    used = [column for column in wanted.values() if column is not None]
    nameless = next((option for option, column in wanted.items() if not isinstance(column, (str, type(None)))), None)
    if nameless is not None:
        raise InputError(
            f"{nameless}={wanted[nameless]!r} is no name of a column; give the columns names of text, such as 'user_id'"
        )
    double = next((column for column in used if used.count(column) > 1), None)
    if double is not None:
        options = " and ".join(option for option, column in wanted.items() if column == double)
        raise InputError(f"{options} are both {double!r}; they must be different columns")
    for option, column in wanted.items():
        if column is None or column in existing:
            continue
        likely = _likely(option, column, existing)
        text = f"{source.name} has no column {column!r}; its columns are {', '.join(map(repr, existing[:30]))}"
        text += f" and {len(existing) - 30} more" if len(existing) > 30 else ""
        text += f". Did you mean {likely!r}?" if likely else "."
        text += f" Choose it with {option}={likely or 'COLUMN'!r} (--{option} {likely or 'COLUMN'})"
        if option == "time":
            text += "; time=None (--time none) if the rows are already in order"
        if source.text and all(re.fullmatch(r"-?[\d.]+(_duplicated_\d+)?", str(name)) for name in existing):
            text += ". The first line looks like data: add a header line"
        raise InputError(text)


def _likely(option: str, column: str, existing: list[str]) -> str | None:
    """The existing column that was probably meant."""
    names = [str(name) for name in reversed(existing)]  # pandas has columns named by numbers
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in names}
    asked = re.sub(r"[^a-z0-9]", "", column.lower())
    if asked in plain:
        return plain[asked]
    for name in OTHER_NAMES.get(option, "").split():
        if name in plain:
            return plain[name]
    close = difflib.get_close_matches(asked, list(plain), n=1, cutoff=0.75)
    return plain[close[0]] if close else None


def is_null(frame: nw.DataFrame[Any] | nw.LazyFrame[Any], column: str) -> nw.Expr:
    """True where a value is missing: null, or NaN in a column of floats."""
    null = nw.col(column).is_null()
    return null | nw.col(column).is_nan() if frame.collect_schema()[column].is_float() else null


@dataclass(eq=False)
class Ids:
    """A column of ids as places in the sorted distinct ids.

    Args:
        values: `(n,)` sorted distinct ids, int64 or text (object).
        codes: `(rows,)` int32, place of each row's id.
        kind: "integers", "text", or a sentence on what became text.
    """

    values: NDArray[Any]
    codes: NDArray[np.int32]
    kind: str

    def compact(self) -> None:
        """Forget ids that no row has any more."""
        used = np.bincount(self.codes, minlength=len(self.values)) > 0
        if not used.all():
            self.values = self.values[used]
            self.codes = (np.cumsum(used, dtype=np.int32) - np.int32(1))[self.codes]


def read_ids(column: pl.Series, what: str) -> Ids:
    """Read a column of ids without nulls.

    Whole floats, and text that holds nothing but plain integers (or nothing but whole floats), become integers;
    categories become text.

    Args:
        column: integers, whole floats, text or categories.
        what: "user" or "item", in messages.

    Raises:
        InputError: fractions, or a type that makes no ids.
    """
    column, kind = canonical_ids(column, what)
    if column.dtype == pl.Int64:
        values, codes = _code_integers(column.to_numpy())
        return Ids(values, codes, kind)
    distinct = column.unique().sort()
    places = pl.Series(np.arange(len(distinct), dtype=np.int32))
    codes = column.replace_strict(distinct, places, return_dtype=pl.Int32).to_numpy()
    return Ids(column_to_ids(distinct), codes, kind)


def canonical_ids(column: pl.Series, what: str) -> tuple[pl.Series, str]:
    """A column of ids as Int64 or String, and which of the two in words; nulls stay."""
    dtype = column.dtype
    if dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    elif dtype == pl.Object:
        column = pl.Series(column.name, [None if x is None else str(x) for x in column.to_list()], dtype=pl.String)
    elif dtype.is_float() or (isinstance(dtype, pl.Decimal) and dtype.scale):
        floats = column.cast(pl.Float64)
        large = floats.filter((floats.abs() >= (2**24 if dtype == pl.Float32 else 2**53)).fill_null(False))
        if len(large):
            raise InputError(
                f"column {column.name!r} holds the {what} id {large[0]:.0f} as {dtype}, where neighbouring ids become "
                "one; read the column as integers (in pandas `Int64`, which holds missing values too) or as text"
            )
        broken = floats.filter((floats != floats.floor()).fill_null(False))
        if len(broken):
            raise InputError(
                f"column {column.name!r} holds {broken[0]!r}, which is no {what} id; ids are integers or text. "
                "Is it the right column?"
            )
        column = floats.cast(pl.Int64)
    elif not (dtype.is_integer() or isinstance(dtype, pl.Decimal) or dtype in (pl.String, pl.Null)):
        raise InputError(f"column {column.name!r} holds values of type {dtype}, which are no ids; use integers or text")
    if column.dtype != pl.String:
        whole = column.cast(pl.Int64, strict=False)
        if whole.null_count() == column.null_count():
            return whole, "integers"
        return column.cast(pl.String), "integers beyond 64 bits, kept as text"
    if _plain_integers(column):
        return column.cast(pl.Int64), "integers"
    if column.head(1000).str.ends_with(".0").all() and column.str.contains(r"^(0|-?[1-9]\d{0,14})\.0$").all():
        return column.str.strip_suffix(".0").cast(pl.Int64), "integers"  # what pandas writes where a column has nulls
    return column, "text"


def _plain_integers(column: pl.Series) -> bool:
    """All values are integers as Python writes them: no zeros in front, no signs but minus."""
    head = column.head(1000)
    for part in (head, column):  # text that is no number is mostly seen at once
        whole = part.cast(pl.Int64, strict=False)
        if whole.null_count() != part.null_count() or not (whole.cast(pl.String) == part).all():
            return False
    return len(column) > column.null_count()


def _code_integers(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Sorted distinct integers and the place of each row's; by a table where they lie close together."""
    if not len(ids):
        return ids, np.zeros(0, dtype=np.int32)
    low, high = int(ids.min()), int(ids.max())
    if high - low < max(4 * len(ids), 1 << 20):
        seen = np.zeros(high - low + 1, dtype=bool)
        shifted = ids - low
        seen[shifted] = True
        place = np.cumsum(seen, dtype=np.int32) - np.int32(1)
        return np.flatnonzero(seen) + low, place[shifted]
    column = pl.Series(ids)
    distinct = column.unique().sort()
    places = pl.Series(np.arange(len(distinct), dtype=np.int32))
    return distinct.to_numpy(), column.replace_strict(distinct, places, return_dtype=pl.Int32).to_numpy()
