"""Times as numbers: integers, floats, dates and ISO text become int64 or float64."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.errors import InputError

FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d")
ZONE = r"\s?(?:[zZ]|UTC|[+-]\d{2}(?::?\d{2})?)$"
"""Z or UTC, or hours and perhaps minutes from it, at the end of a time."""

UNITS = {"ns": 10**9, "us": 10**6, "ms": 10**3}
Place = Callable[[int], str]
SECONDS = "seconds since 1970 (UTC)"
READABLE = (
    "times may be integers, floats, dates, or ISO text such as 2024-05-31 or 2024-05-31T18:30:00Z; "
    "convert the column, or choose another one"
)


@dataclass(eq=False)
class Times:
    """Times read from a column.

    Args:
        order: int64 or float64 as precise as the source, to sort by.
        per_second: by what `order` is divided to give seconds; None where it is kept as it is.
        unit: what the values mean, in words.
    """

    order: NDArray[Any]
    per_second: int | None
    unit: str


def read_times(column: pl.Series, place: Place, name: str) -> Times:
    """Read a column of times without nulls.

    Args:
        place: where a row stands, in messages.
        name: of the column, in messages.

    Raises:
        InputError: a value that is no time, with its place.
    """
    kind = column.dtype
    if kind in (pl.Categorical, pl.Enum, pl.Object):
        column = pl.Series(name, [None if x is None else str(x) for x in column.to_list()], dtype=pl.String)
    if column.dtype == pl.String:
        return _from_text(column, place, name)
    if isinstance(kind, pl.Datetime) or kind == pl.Date:
        unit = kind.time_unit if isinstance(kind, pl.Datetime) else "us"
        column = column.cast(pl.Datetime("us")) if kind == pl.Date else column
        return _from_instants(column.to_physical().to_numpy(), unit)
    if kind.is_integer():
        if kind in (pl.UInt64, pl.Int128, getattr(pl, "UInt128", pl.Int128)):
            _refuse(column.cast(pl.Int64, strict=False).is_null(), column, place, name)
        return Times(column.cast(pl.Int64).to_numpy(), None, "integers")
    if kind.is_float() or isinstance(kind, pl.Decimal):
        return _from_floats(column.cast(pl.Float64), place, name)
    raise InputError(f"column {name!r} holds values of type {kind}, which are no times; {READABLE}")


def moment(value: Any, name: str, times: NDArray[Any]) -> int | float:
    """A date, a `datetime` or ISO text as a number in the unit of `times`.

    Numbers above 1e11, 1e14 and 1e17 are taken for milli-, micro- and nanoseconds since 1970, others for seconds.
    """
    text = value.isoformat() if isinstance(value, dt.date) else value
    if not isinstance(text, str):
        raise InputError(f"{name}={value!r} is no share between 0 and 1, no time and no date")
    parsed = parse_iso(pl.Series([text.strip()]))[0]
    if parsed is None:
        raise InputError(f"{name}={value!r} is no time that can be read; write 2024-05-31 or 2024-05-31T18:30:00Z")
    largest = float(np.abs(times).max())
    per_second = next((n for limit, n in ((1e17, 10**9), (1e14, 10**6), (1e11, 10**3)) if largest > limit), 1)
    found = parsed * per_second / 10**6
    return int(found) if found == int(found) else found


def parse_iso(text: pl.Series) -> pl.Series:
    """Microseconds since 1970 of ISO dates and times, null where a value is none; UTC where no zone is given."""
    zone = text.str.contains(ZONE) & text.str.contains(":")
    plain = text.str.replace(ZONE, "").zip_with(zone, text)
    found = pl.Series(text.name, [None] * len(text), dtype=pl.Datetime("us"))
    for format in FORMATS:
        if not (missing := found.is_null()).any():
            break
        part = plain.filter(missing).str.to_datetime(format, strict=False, time_unit="us")
        found = found.scatter(missing.arg_true(), part)
    micros = found.to_physical()
    if zone.any():
        sign, hours, minutes = (text.str.extract(r"([+-])(\d{2}):?(\d{2})?$", group) for group in (1, 2, 3))
        shift = (hours.cast(pl.Int64) * 60 + minutes.cast(pl.Int64).fill_null(0)).fill_null(0) * 60_000_000
        shift = (-shift).zip_with((sign == "-").fill_null(False), shift)
        micros = (micros - shift).zip_with(zone, micros)
    return micros


def _from_text(column: pl.Series, place: Place, name: str) -> Times:
    """Numbers or ISO times written as text."""
    whole = column.cast(pl.Int64, strict=False)
    if not whole.null_count():
        return Times(whole.to_numpy(), None, "integers")
    number = column.cast(pl.Float64, strict=False)
    if not number.null_count():
        return _from_floats(number, place, name)
    text = column.str.strip_chars()
    if number.null_count() < len(column):
        _refuse(number.is_null(), column, place, name)
    distinct = text.unique()
    parsed = parse_iso(distinct)
    micros = text.replace_strict(distinct, parsed, return_dtype=pl.Int64)
    _refuse(micros.is_null(), column, place, name)
    return _from_instants(micros.to_numpy(), "us")


def _from_floats(column: pl.Series, place: Place, name: str) -> Times:
    """Floats; integers where all are whole."""
    _refuse(~column.is_finite(), column, place, name)
    values = column.to_numpy()
    if (values == np.floor(values)).all() and np.abs(values).max(initial=0) < 2**53:
        return Times(values.astype(np.int64), None, "integers")
    return Times(values, None, "floats")


def _from_instants(values: NDArray[np.int64], unit: str) -> Times:
    """Whole seconds where that loses nothing; else the coarsest unit that does not, and floats after sorting."""
    per_second = UNITS[unit]
    if not (values % per_second).any():
        return Times(values // per_second, None, SECONDS)
    while per_second > 1000 and not (values % 1000).any():
        values, per_second = values // 1000, per_second // 1000
    return Times(values, per_second, SECONDS)


def _refuse(wrong: pl.Series, column: pl.Series, place: Place, name: str) -> None:
    if not (count := int(wrong.sum())):
        return
    first = int(wrong.arg_max() or 0)
    others = f" ({count - 1} more rows like it)" if count > 1 else ""
    raise InputError(
        f"{place(first)}, column {name!r}: {column[first]!r} is no time that can be read{others}; {READABLE}"
    )
