"""Values typed on a command line: `key=value` numbers, lists, files of ids."""

from __future__ import annotations

import csv
import inspect
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from recloom.errors import InputError
from recloom.toml_files import read_toml


def parse_value(text: str) -> Any:
    """A TOML value (`1e-3`, `true`, `[1, 2]`, `"a"`), else the text itself.

    >>> parse_value("1e-3"), parse_value("true"), parse_value("bce")
    (0.001, True, 'bce')
    """
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if set(found) == {"value"} else text


def parse_numbers(pairs: Sequence[str] | None) -> dict[str, Any]:
    """`["dim=64", "loss=bce"]` as keyword arguments."""
    numbers: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"{pair!r} is not of the form key=value, such as dim=64 or loss=bce")
        if key in numbers:
            raise InputError(f"{key} is given twice")
        numbers[key] = parse_value(text)
    return numbers


def refuse_options(numbers: Iterable[str], command: Callable[..., object]) -> None:
    """An `InputError` where what was typed as key=value is an argument of the command's function, not of a method."""
    taken = inspect.signature(command).parameters
    for key in numbers:
        if key in taken:
            raise InputError(f"{key}=... is no argument of a method; see --help for the options of the command")


def with_options(typed: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Numbers typed as key=value, and those given as options of their name; None is an option not given."""
    asked = {key: value for key, value in options.items() if value is not None}
    for key in typed.keys() & asked.keys():
        raise InputError(f"{key} is given twice: --{key} {asked[key]} and {key}={typed[key]}")
    return {**typed, **asked}


def parse_numbers_by_method(pairs: Sequence[str] | None) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """`["dim=64", "sasrec.loss=bce"]` as numbers for all methods, and numbers by method."""
    shared: list[str] = []
    own: dict[str, list[str]] = {}
    for pair in pairs or ():
        name, dot, _ = pair.partition("=")[0].rpartition(".")
        if dot:
            own.setdefault(name, []).append(pair[len(name) + 1 :])
        else:
            shared.append(pair)
    return parse_numbers(shared), {name: parse_numbers(some) for name, some in own.items()}


def parse_varied(texts: Sequence[str] | None) -> dict[str, dict[str, list[Any]]]:
    """`["sasrec.dim=32,64"]` as values by method and argument."""
    varied: dict[str, dict[str, list[Any]]] = {}
    for text in texts or ():
        path, equals, values = text.partition("=")
        name, _, key = path.rpartition(".")
        if not (equals and name and key.isidentifier()):
            raise InputError(f"--vary {text!r} is not of the form METHOD.key=value,value, such as sasrec.dim=32,64")
        if key in varied.get(name, {}):
            raise InputError(f"--vary {path} is given twice")
        varied.setdefault(name, {})[key] = [parse_value(value) for value in parse_list(values)]
    return varied


def parse_search(texts: Sequence[str] | None) -> dict[str, Any]:
    """`["dim=32,64", "lr=1e-4..1e-2:log"]` as lists and ranges by argument."""
    from recloom.search_space import Range

    search: dict[str, Any] = {}
    for text in texts or ():
        key, equals, values = text.partition("=")
        if not (equals and key.isidentifier()):
            raise InputError(
                f"--search {text!r} is not of the form key=value,value or key=low..high, such as dropout=0.1..0.6"
            )
        if key in search:
            raise InputError(f"--search {key} is given twice")
        low, dots, high = values.removesuffix(":log").partition("..")
        if not dots:
            search[key] = [parse_value(value) for value in parse_list(values)]
            continue
        ends = parse_value(low), parse_value(high)
        if not all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends):
            raise InputError(f"--search {text!r}: the ends of a range are numbers, such as 0.1..0.6 or 1e-4..1e-2:log")
        search[key] = Range(*ends, log=values.endswith(":log"))
    return search


def parse_list(text: str) -> list[str]:
    """`"a, b,c"` as `["a", "b", "c"]`; empty parts are left out."""
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_ids(text: str) -> list[str]:
    """`'a, "b,c"'` as `["a", "b,c"]`, as lines of CSV; empty parts are left out."""
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return [part.strip() for row in rows for part in row if part.strip()]


def parse_cutoffs(text: str, option: str = "--k") -> tuple[int, ...]:
    """`"5,10,20"` as rising, distinct, positive whole numbers; `option` is what the message names."""
    parts = parse_list(text)
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"{option} {text!r} is not a list of positive whole numbers, such as 5,10,20")
    return tuple(sorted({int(part) for part in parts}))


def parse_seeds(text: str) -> list[int]:
    """`"1,2,3"` as seeds."""
    parts = parse_list(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise InputError(f"--seeds {text!r} is not a list of whole numbers, such as 1,2,3")
    return [int(part) for part in parts]


def require_parquet(file: Path | None, option: str) -> None:
    """Refuse a name that would make people take a Parquet file for another kind, or write over one."""
    if file is not None and file.suffix != ".parquet":
        raise InputError(f"{option} {file}: the file is written as Parquet; give it a name that ends in .parquet")


def read_ids(file: Path | None) -> list[Any] | None:
    """Item ids of a file: one a line, or the column `item_id` of a CSV, TSV or Parquet file."""
    if file is None:
        return None
    import polars as pl

    if not file.is_file():
        raise InputError(f"{file}: no such file; it should hold one item id a line, or a column item_id")
    if file.suffix.lower() in (".json", ".jsonl", ".gz", ".zip", ".xlsx", ".npy"):
        raise InputError(f"{file}: give the ids as text, one a line, or as a column item_id of CSV, TSV or Parquet")
    if file.suffix.lower() not in (".csv", ".tsv", ".parquet"):
        try:
            return [line.strip() for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: not readable as UTF-8 text: {error}") from error
    try:
        if file.suffix.lower() == ".parquet":
            frame = pl.read_parquet(file)
        else:
            frame = pl.read_csv(file, separator="\t" if file.suffix.lower() == ".tsv" else ",", infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{file}: not readable: {error}") from error
    if "item_id" not in frame.columns:
        raise InputError(f"{file}: no column 'item_id'; it has {', '.join(frame.columns)}")
    return frame["item_id"].to_list()


def read_numbers(recipe: Path, method: str, tell: Callable[[str], object]) -> dict[str, Any]:
    """The numbers of a recipe file, or of the recipe.toml of a run, for the method they were written for.

    Args:
        tell: told what else the recipe asks for, which options give.

    Raises:
        InputError: no recipe, one of another method, or one of several variants.
    """
    content = read_toml(recipe)
    if content.get("method") != method:
        raise InputError(f"{recipe} is a recipe of {content.get('method')!r}, not of {method!r}")
    if "format" in content:  # of a run
        asked = {name: value for name, value in content.get("training", {}).items() if name != "seed"}
    else:
        from recloom.recipes import read_recipes

        of_file = read_recipes(recipe)[0]
        if of_file.variants:
            raise InputError(
                f"{recipe} has variants ({', '.join(of_file.variants)}), of which this trains none; "
                "`recloom reproduce --variants` does, or give their numbers as key=value"
            )
        asked = {"stage": of_file.stage, "start": of_file.start}
    rest = [f"{name}={value!r}" for name, value in asked.items() if value]
    if rest:
        tell(f"{recipe}: its numbers alone are used; options of this command give what else it has: {', '.join(rest)}")
    return dict(content.get("numbers", {}))
