"""Read the files of prepared data, with a clear error for each way in which they can be wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom.data.files import others_in
from recloom.errors import InputError

DATA = "data.json"
"""The file that makes a folder prepared data."""

PREPARED = {DATA, "sequences", "users.parquet", "catalog.json", "catalog.parquet"}
"""All that such a folder holds."""


def column_to_ids(column: pl.Series) -> NDArray[Any]:
    """A column of ids as an int64 or object array."""
    if column.dtype == pl.Int64:
        return column.to_numpy()
    return np.array(column.to_list(), dtype=object)


def read_parquet(file: Path, columns: Sequence[str]) -> pl.DataFrame:
    """A Parquet file that must hold some columns."""
    if not file.is_file():
        raise InputError(f"{file.parent} has no {file.name}; it is not what `recloom prepare` or `train` wrote")
    try:
        return pl.read_parquet(file, columns=list(columns))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{file} is damaged: {str(error).splitlines()[0]}") from error


def read_json(file: Path, format_version: int, otherwise: str = "prepare the data again") -> dict[str, Any]:
    """A JSON object that must be of one format; where it is not, the error says to do what `otherwise` says."""
    if not file.is_file():
        raise InputError(f"{file.parent} has no {file.name}; give a folder that `recloom prepare` wrote")
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is damaged: {error}") from error
    if not isinstance(facts, dict) or facts.get("format") != format_version:
        found = facts.get("format") if isinstance(facts, dict) else None
        raise InputError(f"{file}: format {found!r}, but this version reads {format_version}; {otherwise}")
    return facts


def read_array(file: Path, dtype: str, size: int) -> NDArray[Any]:
    """A memory-mapped array of one kind and size; numbers of either kind where `dtype` is empty."""
    if not file.is_file():
        raise InputError(f"{file} is missing; prepare the data again")
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} is damaged: {error}; prepare the data again") from error
    allowed = (dtype,) if dtype else ("int64", "float64")
    if str(found.dtype) not in allowed or found.shape != (size,):
        wanted = f"{' or '.join(allowed)} ({size},)"
        raise InputError(f"{file} holds {found.dtype} {found.shape}, but {DATA} says {wanted}; prepare the data again")
    return found


def free_for_data(folder: str | Path) -> Path:
    """A folder that may be written: new, empty, or older prepared data."""
    path = Path(folder).expanduser()
    path = path if path.name not in ("", "..") else path.resolve()
    if path.is_file():
        raise InputError(f"{path} is a file; give a folder for the prepared data")
    others = others_in(path, PREPARED)
    if others or (path.is_dir() and any(path.iterdir()) and not _is_prepared(path / DATA)):
        found = ", ".join(others[:3]) or DATA
        raise InputError(
            f"the folder {path} holds other files ({found}); give a new or empty folder for the prepared data"
        )
    return path


def _is_prepared(file: Path) -> bool:
    """Whether a file is what `Dataset.save` writes last, in any version."""
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and {"format", "fingerprint"} <= set(facts)
