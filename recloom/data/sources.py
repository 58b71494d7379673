"""Files and frames of any kind to one checked Polars frame with known column names."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import polars as pl

from recloom.errors import InputError

SUFFIXES = (".parquet", ".csv", ".tsv")


def open_source(source: Any) -> tuple[nw.LazyFrame[Any], str]:
    """A lazy frame over a path (file, glob or folder) or a frame, and the name it has in messages.

    Raises:
        InputError: nothing is there, the format is not known, or the object is no frame.
    """
    if isinstance(source, (str, Path)):
        return nw.from_native(_scan(str(source))).lazy(), str(source)
    try:
        frame = nw.from_native(source)
    except TypeError as error:
        raise InputError(
            f"a log is a path or a frame of pandas, Polars, Arrow, DuckDB or PySpark; {type(source).__name__} is neither"
        ) from error
    if frame.implementation.is_pyarrow():
        frame = nw.from_native(pl.from_arrow(source))
    return frame.lazy(), f"the {type(source).__name__}"


def _scan(path: str) -> pl.LazyFrame:
    """Polars' scan of one file, the files of a folder, or those a pattern matches."""
    if Path(path).is_dir():
        files = sorted(str(file) for file in Path(path).iterdir() if file.suffix in SUFFIXES)
    else:
        files = sorted(glob.glob(path)) if not Path(path).exists() else [path]
    if not files:
        raise InputError(f"{path}: no such file, and no {', '.join(SUFFIXES)} file matches it")
    kinds = {Path(file).suffix.lower() for file in files}
    if len(kinds) > 1 or not kinds <= set(SUFFIXES):
        raise InputError(f"{path}: expected files of one kind ({', '.join(SUFFIXES)}), found {', '.join(sorted(kinds))}")
    kind = kinds.pop()
    if kind == ".parquet":
        return pl.scan_parquet(files)
    separator = "\t" if kind == ".tsv" else ","
    return pl.scan_csv(files, separator=separator, infer_schema_length=10_000)


def select(frame: nw.LazyFrame[Any], columns: Mapping[str, str], name: str) -> nw.LazyFrame[Any]:
    """The wanted columns under their standard names.

    Args:
        columns: standard name -> the source's name for it, which is also the option that sets it.

    Raises:
        InputError: a column is missing (says which exist), or the file cannot be read.
    """
    try:
        found = frame.collect_schema().names()
    except Exception as error:
        raise InputError(f"{name}: cannot be read ({type(error).__name__}: {error})") from error
    for standard, column in columns.items():
        if column not in found:
            close = difflib.get_close_matches(column, found, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            option = {"user_id": "user", "item_id": "item", "timestamp": "time"}.get(standard, standard)
            raise InputError(
                f"{name}: no column {column!r}; it has {', '.join(map(repr, found))}.{hint} "
                f"Name the right one with {option}=... (--{option} on the command line)"
            )
    return frame.select(*(nw.col(column).alias(standard) for standard, column in columns.items()))


def collect(frame: nw.LazyFrame[Any], name: str) -> pl.DataFrame:
    """The rows in memory; ids of mixed types become strings."""
    native = frame.to_native()
    try:
        if isinstance(native, pl.LazyFrame):
            return native.collect()
        if frame.implementation.is_pandas_like():
            return _from_pandas(native)
        return frame.collect(backend="polars").to_native()  # type: ignore[no-any-return]
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name}: cannot be read ({type(error).__name__}: {error})") from error


def _from_pandas(frame: Any) -> pl.DataFrame:
    """A pandas frame as Polars; a column of mixed objects is turned into strings."""
    columns = {}
    for column in frame.columns:
        values = frame[column]
        if values.dtype == object:
            kinds = {type(value) for value in values.dropna()}
            if len(kinds) > 1:
                values = [None if value is None or value != value else str(value) for value in values]
            columns[column] = pl.Series(values if isinstance(values, list) else values.tolist(), strict=False)
        else:
            columns[column] = pl.from_pandas(values)
    return pl.DataFrame(columns)
