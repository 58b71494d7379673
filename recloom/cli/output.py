"""Printing: tables for people and pipes, JSON for programs, progress for terminals."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer


def say(text: str) -> None:
    """A line about what is going on, on stderr, so that stdout holds results alone."""
    typer.echo(text, err=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(value, indent=2, default=str))


def cell(value: Any) -> str:
    """A value as a table shows it: four decimals, thousands separated, nothing for None.

    >>> cell(0.05678), cell(12101), cell(None), cell(["a", "b"])
    ('0.0568', '12,101', '', 'a, b')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def print_table(rows: Sequence[Mapping[str, Any]], title: str | None = None, ids: Sequence[str] = ()) -> None:
    """Rows as a table; numbers stand right, and no cell is wrapped or cut where stdout is not a terminal.

    Args:
        rows: mappings with the same keys.
        title: a line above.
        ids: columns printed as they are, without separators of thousands.
    """
    if not rows:
        typer.echo(f"{title}: none" if title else "none")
        return
    columns = list(rows[0])
    text = [[str(row[c]) if c in ids and row[c] is not None else cell(row[c]) for c in columns] for row in rows]
    right = [all(isinstance(row[c], (int, float, type(None))) for row in rows) and c not in ids for c in columns]
    if sys.stdout.isatty():
        _print_rich(columns, text, right, title)
    else:
        _print_plain(columns, text, right, title)


def _print_rich(columns: list[str], text: list[list[str]], right: list[bool], title: str | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title and escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, to_right in zip(columns, right, strict=True):
        table.add_column(escape(name), justify="right" if to_right else "left", overflow="fold")
    for row in text:
        table.add_row(*map(escape, row))
    Console().print(table)


def _print_plain(columns: list[str], text: list[list[str]], right: list[bool], title: str | None) -> None:
    if title:
        typer.echo(title)
    lines = [columns, *text]
    widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
    for line in lines:
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)]
        typer.echo("  ".join(cells).rstrip())
