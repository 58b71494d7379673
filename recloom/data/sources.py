"""Open files, folders and frames of any engine as one Narwhals frame."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals.exceptions
import narwhals.stable.v2 as nw
import polars as pl

from recloom.data.vocabulary import as_integer, as_text
from recloom.errors import InputError

Frame = nw.DataFrame[Any] | nw.LazyFrame[Any]

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = (".parquet", ".pq")
PACKED = (".gz", ".zst")
NULLS = ["NaN", "nan", "null", "NULL"]
"""What programs write for a missing value into CSV and TSV, beside nothing."""

KINDS = "CSV (.csv), TSV (.tsv) and Parquet (.parquet) are read, CSV and TSV also as .gz"


@dataclass(frozen=True)
class Source:
    """A table that has been opened and not yet read.

    Args:
        frame: its Narwhals frame; lazy frames of DuckDB or Spark are worked on where they are.
        name: what to call it in messages.
        ordered: its rows have an order.
        text: it was read from CSV or TSV, so every column is text.
        files: those it was read from, one after the other.
    """

    frame: Frame
    name: str
    ordered: bool
    text: bool = False
    files: tuple[Path, ...] = ()

    def place(self, row: int) -> str:
        """The file, or what the frame is called, and the number from 1, of a row counted from 0 over all files.

        Rows of an engine have no order and no number.
        """
        if self.in_engine:
            return self.name
        for file in self.files[:-1]:
            height = int(_scan([file]).select(pl.len()).collect().item())
            if row < height:
                return f"{file}, row {row + 1}"
            row -= height
        return f"{self.files[-1] if self.files else self.name}, row {row + 1}"

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return self.frame.collect_schema().names()

    @property
    def in_engine(self) -> bool:
        """Filters run in the engine (DuckDB, Spark), and only their result is fetched."""
        kind = self.frame.implementation
        return not (kind.is_polars() or kind.is_dask() or isinstance(self.frame, nw.DataFrame))


def open_source(source: Any, what: str) -> Source:
    """Open a path, pattern, folder or frame.

    Args:
        source: see `recloom.data.log.read_log`.
        what: what it is, in messages: "log" or "items".

    Raises:
        InputError: nothing there, nothing readable, or not a table.
    """
    if isinstance(source, (str, os.PathLike)):
        return _open_files(os.path.expanduser(os.fspath(source)))
    try:
        frame = nw.from_native(source)
        if isinstance(frame, (nw.DataFrame, nw.LazyFrame)):
            frame.collect_schema()
    except TypeError as error:
        raise InputError(
            f"{what}: a {type(source).__name__} is no table; give a path, or a pandas, Polars, Arrow, DuckDB or Spark "
            "frame"
        ) from error
    except narwhals.exceptions.DuplicateError as error:
        raise InputError(f"{what}: {' '.join(str(error).split())}; give every column its own name") from error
    if not isinstance(frame, (nw.DataFrame, nw.LazyFrame)):
        raise InputError(f"{what}: one column ({type(source).__name__}) is no table; give a frame")
    kind = frame.implementation
    engine = "DuckDB relation" if kind.is_duckdb() else f"{str(kind).split('.')[-1].lower()} frame"
    return Source(frame, f"the {what} ({engine})", isinstance(frame, nw.DataFrame) or kind.is_polars())


def collect(frame: Frame, name: str) -> tuple[pl.DataFrame, list[str]]:
    """The rows of a frame, in Polars, and the columns whose values had several types.

    Raises:
        InputError: rows that cannot be read.
    """
    try:
        if isinstance(frame, nw.LazyFrame):
            return frame.collect("polars").to_native(), []
        return _plain(frame)
    except (OSError, pl.exceptions.PolarsError, narwhals.exceptions.NarwhalsError) as error:
        raise InputError(f"{name} cannot be read: {_first_line(error)}") from error


def check_lines(table: pl.DataFrame, columns: list[str], source: Source) -> None:
    """Refuse ids that run over a line break, as a quote that is not closed makes them, with all rows up to the next.

    Args:
        table: what was read of the source, row by row.
        columns: those of ids.
    """
    for column in columns:
        broken = table[column].str.contains("\n", literal=True).fill_null(False).arg_true()
        if len(broken):
            begin = table[column][broken[0]].splitlines()[0]
            raise InputError(
                f"{source.place(broken[0])}: the value that begins with {begin!r} does not end on its line: a quote "
                "there is not closed. Write a value that holds quotes in quotes, and its own quotes twice"
            )


def _plain(frame: nw.DataFrame[Any]) -> tuple[pl.DataFrame, list[str]]:
    """The frame in Polars; columns of Python objects (pandas, Polars) as numbers, or as text if they mix types."""
    objects = [name for name, dtype in frame.schema.items() if dtype == nw.Object]
    if not objects:
        return frame.to_polars(), []
    made = {name: object_column(name, frame[name].to_list()) for name in objects}
    rest = frame.drop(*objects)
    columns = rest.to_polars().get_columns() if rest.columns else []
    table = pl.DataFrame([*columns, *(series for series, _ in made.values())])
    return table.select(frame.columns), [name for name, (_, mixed) in made.items() if mixed]


def object_column(name: str, values: list[Any]) -> tuple[pl.Series, bool]:
    """Python values as one column, and whether they had several types, which become text."""
    values = [None if _missing(value) else value for value in values]
    if all(value is None or (as_integer(value) is not None and not isinstance(value, str)) for value in values):
        return pl.Series(name, [None if v is None else as_integer(v) for v in values], dtype=pl.Int64), False
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) == 1:
        try:
            return pl.Series(name, values, strict=True), False
        except (TypeError, pl.exceptions.PolarsError):
            return pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String), False
    texts = [None if value is None else as_text(value) or str(value) for value in values]
    return pl.Series(name, texts, dtype=pl.String), True


def _missing(value: Any) -> bool:
    """None, NaN, and what pandas puts in their place."""
    not_a_number = isinstance(value, float) and value != value
    return value is None or not_a_number or type(value).__name__ in ("NAType", "NaTType")


def _open_files(path: str) -> Source:
    files = _files(path)
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1:
        raise InputError(f"{path} holds files of several kinds ({', '.join(sorted(kinds))}); name one with a pattern")
    kind = kinds.pop()
    empty = next((file for file in files if not file.stat().st_size), None)
    if empty:
        raise InputError(f"{empty} is empty (0 bytes); give a table with a header line")
    try:
        lazy = _scan(files)
        lazy.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        if len(files) > 1:
            _same_columns(files)
        raise InputError(f"{path} cannot be read as {kind[:1].upper() + kind[1:]}: {_first_line(error)}") from error
    return Source(nw.from_native(lazy), path, ordered=True, text=kind != "parquet", files=tuple(files))


def _same_columns(files: list[Path]) -> None:
    """An `InputError` that names the first of several files whose columns are not those of the first one."""
    first: list[str] | None = None
    for file in files:
        try:
            found = _scan([file]).collect_schema().names()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{file} cannot be read: {_first_line(error)}") from error
        first = first or found
        if found != first:
            raise InputError(
                f"{file} has the columns {', '.join(map(repr, found))}, and {files[0]} {', '.join(map(repr, first))}; "
                "files that are read together need the same header line"
            )


def _scan(files: list[Path]) -> pl.LazyFrame:
    """Files of one kind, which the first one's name tells, as one frame; values of CSV and TSV as text."""
    kind = _kind(files[0])
    if kind == "parquet":
        return pl.scan_parquet(files)
    return pl.scan_csv(files, separator=_separator(files[0], kind), infer_schema=False, null_values=NULLS)


def _files(path: str) -> list[Path]:
    """The files that a path, pattern or folder names, sorted by name."""
    if os.path.isdir(path):
        found = [file for file in sorted(Path(path).rglob("*")) if file.is_file() and not _hidden(file, path)]
        tables = [file for file in found if _kind(file, strict=False)]
        if not tables:
            raise InputError(f"the folder {path} holds no table; {KINDS}")
        return tables
    if os.path.exists(path):
        return [Path(path)]
    if glob.has_magic(path):
        matched = [Path(file) for file in sorted(glob.glob(path, recursive=True)) if os.path.isfile(file)]
        if matched:
            return matched
        raise InputError(f"no file matches {path!r}")
    near = Path(path).parent
    beside = "" if near.is_dir() else f"; the folder {near} does not exist either"
    raise InputError(f"there is no file {path}{beside}")


def _hidden(file: Path, folder: str) -> bool:
    """Names such as `_SUCCESS` and `.crc`, which engines leave beside their tables."""
    return any(part.startswith(("_", ".")) for part in file.relative_to(folder).parts)


def _kind(file: Path, strict: bool = True) -> str:
    name = file.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    suffix = Path(name).suffix
    if suffix in PARQUET:
        return "parquet"
    if suffix in SEPARATORS:
        return suffix[1:]
    if strict:
        raise InputError(f"{file}: the suffix {suffix or '(none)'} is not known; {KINDS}")
    return ""


def _separator(file: Path, kind: str) -> str:
    """The usual separator of the kind; another one if the header has only that."""
    usual = SEPARATORS[f".{kind}"]
    if file.name.lower().endswith(PACKED):
        return usual
    with file.open("rb") as opened:
        header = opened.readline(1 << 16).decode("utf-8", "replace")
    others = [sign for sign in (",", "\t", ";", "|") if sign in header]
    return others[0] if usual not in header and len(others) == 1 else usual


def _first_line(error: Exception) -> str:
    """What an error says, and what to do where that is known."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if 'could not parse `"' in said:
        return f"{said}; write a value that holds quotes in quotes, and its own quotes twice"
    if "utf-8" in said.lower() or "utf8" in said.lower():
        return f"{said}; save it as UTF-8"
    return f"{said}; some row has more values than the first one" if "more fields" in said else said
