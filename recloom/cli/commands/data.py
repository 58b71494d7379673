"""prepare, describe, data list, data get."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recloom.cli.options import Json
from recloom.cli.output import cell, print_json, print_table, say
from recloom.cli.values import parse_list

if TYPE_CHECKING:
    from recloom.data.dataset import Dataset

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")]
MinUser = Annotated[int, typer.Option(help="Users with fewer actions are removed.")]
MinItem = Annotated[int, typer.Option(help="Items with fewer actions are removed, in turn with users.")]
Split = Annotated[
    str,
    typer.Option(
        help="leave-one-out (training holds what others did later), time (one cut for all), or none (train on all)."
    ),
]
At = Annotated[
    str | None,
    typer.Option(help="With --split time: a share of the actions, a time or a date; 0.8 and 0.9 if not given."),
]


def prepare(
    log: Annotated[str, typer.Argument(help="CSV, TSV or Parquet: a file, a pattern in quotes or a folder.")],
    out: Out,
    items: Annotated[Path | None, typer.Option(help="Table of items, with titles and attributes.")] = None,
    user: Annotated[str, typer.Option(help="Column of users.")] = "user_id",
    item: Annotated[str, typer.Option(help="Column of items.")] = "item_id",
    time: Annotated[str, typer.Option(help="Column of times; none: rows are in order already.")] = "timestamp",
    min_user: MinUser = 5,
    min_item: MinItem = 5,
    attributes: Annotated[str | None, typer.Option(help="Columns of attributes, separated by commas.")] = None,
    title: Annotated[str | None, typer.Option(help="Column of titles.")] = None,
    duplicates: Annotated[str, typer.Option(help="Rows equal in all: keep or drop.")] = "keep",
    split: Split = "leave-one-out",
    valid_at: At = None,
    test_at: At = None,
    as_json: Json = False,
) -> None:
    """Turn a log of actions into prepared data.

    \b
    Examples:
      recloom prepare log.csv -o data/shop
      recloom prepare "days/*.parquet" -o data/shop --user customer --item product --time at --items products.csv
      recloom prepare log.csv -o data/shop --split time --valid-at 2024-01-01 --test-at 2024-02-01
    """
    from recloom.data.dataset import prepare as prepare_data

    data = prepare_data(
        log,
        items=items,
        user=user,
        item=item,
        time=None if time.lower() == "none" else time,
        attributes=None if attributes is None else parse_list(attributes),
        title=title,
        min_user=min_user,
        min_item=min_item,
        duplicates=duplicates,
        split=split,
        valid_at=_moment(valid_at),
        test_at=_moment(test_at),
        out=out,
    )
    _show(data, as_json, out)


def _moment(text: str | None) -> float | int | str | None:
    """A share, a number of the time column, or a date as it is written."""
    if text is None:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _show(data: Dataset, as_json: bool, out: Path) -> None:
    if as_json:
        print_json({"path": str(out), "fingerprint": data.fingerprint, "report": data.report, **data.describe()})
        return
    print_table([row for row in _facts(data.report) if row["value"] != "0"], "Read (what is 0 is left out)")
    typer.echo()
    print_table(_facts(data.describe()), "Prepared")
    epochs = "" if len(data.split.valid) else " epochs=N"
    say(f"\nThe data are in {out}. Next: recloom train sasrec {quote(str(out))} -o RUN{epochs}")


def _facts(facts: dict[str, Any], above: str = "") -> list[dict[str, str]]:
    """A nested mapping as rows of name and value."""
    rows: list[dict[str, str]] = []
    for name, value in facts.items():
        name = f"{above}{str(name).replace('_', ' ')}"
        if isinstance(value, dict):
            rows += _facts(value, f"{name}: ")
        else:
            rows.append({"fact": name, "value": f"{value:,.6g}" if isinstance(value, float) else cell(value)})
    return rows


def describe(
    data: Annotated[Path, typer.Argument(help="Prepared data: a folder of `recloom prepare`.")], as_json: Json = False
) -> None:
    """Say what prepared data hold: users, items, actions, lengths, sparsity, ties, repeats, attributes.

    \b
    Example:
      recloom describe data/shop
    """
    from recloom.data.dataset import Dataset

    found = Dataset.load(data)
    facts = {**found.describe(), "fingerprint": found.fingerprint}
    if as_json:
        print_json(facts)
    else:
        print_table(_facts(facts), str(data))


def list_public(as_json: Json = False) -> None:
    """List the public data sets that `recloom data get` knows, with their terms.

    \b
    Example:
      recloom data list
    """
    from recloom.data.public import available

    rows = [
        {"name": one.name, "title": one.title, "sources": [s.name for s in one.sources], "terms": one.terms}
        for one in available()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['name']}\n  {row['title']}")
        typer.echo(f"  Sources: {', '.join(row['sources']) or 'none needed'}\n  Terms: {row['terms']}\n")


def get_public(
    name: Annotated[str, typer.Argument(help="A name of `recloom data list`.")],
    out: Out,
    min_user: MinUser = 5,
    min_item: MinItem = 5,
    split: Split = "leave-one-out",
    valid_at: At = None,
    test_at: At = None,
    as_json: Json = False,
) -> None:
    """Fetch a public data set, print its terms, and prepare it.

    \b
    Example:
      recloom data get ml-100k -o data/ml-100k
    """
    from recloom.data.dataset import prepare as prepare_data
    from recloom.data.public import get

    found = get(name, progress=say)
    say(f"{name} from {found.source}.\n{found.terms}\n")
    data = prepare_data(
        found.log,
        items=found.items,
        min_user=min_user,
        min_item=min_item,
        split=split,
        valid_at=_moment(valid_at),
        test_at=_moment(test_at),
        out=out,
    )
    _show(data, as_json, out)
