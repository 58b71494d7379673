"""Reading the files that `recloom reproduce` wrote, and writing the pages that are made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recloom.data.files import write_text_atomically
from recloom.errors import InputError
from recloom.result_pages import GENERATED, table, table_of_lists, table_of_speed, table_of_variants

PAGES = ("README.md", "variants.md", "lists.md", "speed.md")


def read_results(folder: Path) -> list[dict[str, Any]]:
    """All results of recipes below a folder, by data set and recipe; other JSON files there are passed over."""
    found = (_read(file) for file in sorted(folder.glob("*/*.json")))
    results = [result for result in found if isinstance(result, dict) and {"recipe", "seeds"} <= set(result)]
    return [result | {"published": published_rows(result["published"])} for result in results]


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{file} is no JSON: {error}; mend it or move it away, as the tables are of all results"
        ) from error


def check_folder(folder: Path) -> None:
    """An `InputError` where the tables cannot be written: a page of others is in the way, or a result is damaged."""
    for name in PAGES:
        page = folder / name
        if page.exists() and GENERATED not in page.read_text(encoding="utf-8", errors="replace"):
            raise InputError(f"{page} was not written by recloom and would be replaced; choose another folder with -o")
    read_results(folder)


def published_rows(published: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Published rows by protocol as lists, whether a file has one row or several."""
    return {protocol: rows if isinstance(rows, list) else [rows] for protocol, rows in published.items()}


def write_tables(folder: Path) -> None:
    """Write `README.md` and `lists.md` from all result files of the folder, the others from those of their kind."""
    results = read_results(folder)
    texts = (
        table(results)
        + _links(folder, "comparisons/*/leaderboard.md", "Methods compared with paired tests")
        + _links(folder, "searches/*/trials.md", "Arguments searched on validation"),
        table_of_variants(results),
        table_of_lists(results),
        table_of_speed({file.stem: _read(file) for file in folder.glob("benchmarks/*.json")}),
    )
    for name, text in zip(PAGES, texts, strict=True):
        write_text_atomically(folder / name, text)


def _links(folder: Path, pattern: str, title: str) -> str:
    """A list of the tables that `compare` and `tune` wrote to folders of their own, each with its `remark.txt`."""
    links = []
    for file in sorted(folder.glob(pattern)):
        remark = file.with_name("remark.txt")
        text = ": " + remark.read_text(encoding="utf-8").strip() if remark.exists() else ""
        links.append(f"- [{file.parent.name}]({file.relative_to(folder).as_posix()}){text}")
    return "\n".join(["", f"## {title}", "", *links, ""]) if links else ""
