"""recommend, similar, export."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from recloom.cli.options import Device, Json
from recloom.cli.output import print_json, print_table, say
from recloom.cli.values import parse_ids, read_ids, require_parquet
from recloom.errors import InputError

RunFolder = Annotated[Path, typer.Argument(help="Folder of a trained run.")]
Trained = Annotated[Path, typer.Argument(help="Folder of a trained run, or of an artifact of `recloom export`.")]
Count = Annotated[int, typer.Option("-k", "--k", min=1, help="How many items.")]


def recommend(
    run: Trained,
    history: Annotated[str | None, typer.Option(help='Item ids, oldest first, as a line of CSV: a,b,"c,d".')] = None,
    user: Annotated[str | None, typer.Option(help="A user of the data the run was trained on.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All users of that data; needs -o.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Parquet file to write.")] = None,
    k: Count = 10,
    keep_seen: Annotated[bool, typer.Option("--keep-seen", help="Items of the history may come again.")] = False,
    allow: Annotated[Path | None, typer.Option(help="File of the only item ids allowed.")] = None,
    deny: Annotated[Path | None, typer.Option(help="File of item ids never to recommend.")] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Also items of the data without an action in training, by their attributes.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Prepared data of the run, if they are not where it was trained on them.")
    ] = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Recommend the next items for a history, a user of the data, or all of them.

    Files of ids hold one a line, or a column item_id (CSV, TSV, Parquet).

    \b
    Examples:
      recloom recommend runs/shop --history "a,b,c" -k 5
      recloom recommend runs/shop --user 42 --deny sold-out.txt
      recloom recommend runs/shop --all -o next.parquet
      recloom recommend runs/with-attributes --history "a,b,c" --cold
    """
    if sum([history is not None, user is not None, everybody]) != 1:
        raise InputError("give one of --history, --user or --all")
    if everybody and out is None:
        raise InputError("--all writes a file; name it with -o FILE.parquet")
    if data is not None and history is not None:
        raise InputError("--data is where --user and --all find people; a --history needs none")
    require_parquet(out, "-o")
    found = _opened(run, device, by_user=history is None, data=data)
    options: dict[str, Any] = {
        "filter_seen": not keep_seen,
        "allow": read_ids(allow),
        "deny": read_ids(deny),
        "cold": cold,
    }
    asked = found.histories(None if user is None else [user]) if history is None else [parse_ids(history)]
    if out is not None:
        with _silent_log():
            written = found.recommender().recommend_to_parquet(asked, out, k, **options)
        if written.message:
            say(written.message)
        if as_json:
            print_json({"file": str(out), "rows": written.rows, "users": written.counts.users})
        else:
            say(f"{out}: {written.rows:,} rows for {written.counts.users:,} users")
        return
    with _silent_log():
        answer = found.recommender().recommend(asked, k, **options).with_titles()
    if answer.message:
        say(answer.message)
    rows = answer.frame.to_dicts()
    if user is None:
        rows = [{name: value for name, value in row.items() if name != "user_id"} for row in rows]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ids=("user_id", "item_id"))


@contextmanager
def _silent_log() -> Iterator[None]:
    """The command prints the messages itself; the log must not say them a second time."""
    log = logging.getLogger("recloom.recommend")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def similar(
    run: Trained, item: Annotated[str, typer.Argument(help="Item id.")], k: Count = 10, as_json: Json = False
) -> None:
    """List the items nearest to one.

    \b
    Example:
      recloom similar runs/shop a -k 5
    """
    found = _opened(run)
    rows = found.similar(item, k).to_dicts()
    if found.catalog.titles is not None:
        places = found.catalog.encode([row["item_id"] for row in rows])
        rows = [row | {"title": found.catalog.title(int(place))} for row, place in zip(rows, places, strict=True)]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ids=("item_id",))


def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; an older artifact there is replaced.")],
) -> None:
    """Write an artifact: all that recommending needs, and nothing of training; needs recloom[export].

    It holds the catalogue and its vectors, the query encoder as ONNX, and where they come from. `recommend --history`
    and `similar` take its folder in place of a run's.

    \b
    Examples:
      recloom export runs/shop -o artifacts/shop
      recloom recommend artifacts/shop --history "a,b,c"
    """
    from recloom.run import load

    written = load(run).export(out)
    size = sum(file.stat().st_size for file in written.iterdir())
    say(f"{written}: {size / 1e6:.1f} MB; recloom recommend {written} --history ... reads it")


def _opened(folder: Path, device: str = "cpu", by_user: bool = False, data: Path | None = None) -> Any:
    """The run or artifact in a folder; `by_user` needs a run, which knows its users, from its `data`."""
    from recloom.recommend.artifact import Artifact, is_artifact

    if not is_artifact(folder):
        from recloom.data.dataset import Dataset
        from recloom.run import load

        return load(folder, None if data is None else Dataset.load(data), device)
    if by_user:
        raise InputError(f"{folder} is an artifact, which holds no users; give --history, or the run it comes from")
    if device not in ("auto", "cpu"):
        raise InputError(f"--device {device}: an artifact recommends on the CPU; give the run it comes from")
    return Artifact(folder)
