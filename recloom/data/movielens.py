"""Reads MovieLens 100K from GroupLens's own files or from RecBole's copy: the same frames from both."""

from __future__ import annotations

import re

import polars as pl

LOG_COLUMNS = ["user_id", "item_id", "rating", "timestamp"]


def read_grouplens(data: bytes, item: bytes, genre: bytes) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read GroupLens's `u.data` (tabs), `u.item` (pipes, Latin-1, one flag a genre from column 6) and `u.genre`."""
    log = pl.read_csv(data, separator="\t", has_header=False, new_columns=LOG_COLUMNS, schema_overrides=[pl.Int64] * 4)
    genres = [line.split("|")[0] for line in genre.decode("latin-1").split("\n") if line.strip()]
    rows = []
    for line in filter(None, item.decode("latin-1").replace("\r", "").split("\n")):
        cells = line.split("|")
        flags = cells[5:]
        if len(flags) != len(genres):
            raise ValueError(f"u.item, item {cells[0]}: {len(flags)} genre flags for {len(genres)} genres")
        rows.append((cells[0], cells[1], "", [g for g, flag in zip(genres, flags, strict=True) if flag == "1"]))
    return log, _movies(rows)


def read_recbole(inter: bytes, item: bytes) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read RecBole's atomic files `ml-100k.inter` and `ml-100k.item` (tabs, UTF-8, a header of `name:type`)."""
    log = pl.read_csv(inter, separator="\t", schema_overrides=[pl.Int64] * 4)
    log = log.rename(lambda column: column.split(":")[0]).select(LOG_COLUMNS)
    rows = []
    for line in filter(None, item.decode("utf-8").replace("\r", "").split("\n")[1:]):
        number, title, year, genres = line.split("\t")
        rows.append((number, title, year, genres.split(" ")))
    return log, _movies(rows)


def _movies(rows: list[tuple[str, str, str, list[str]]]) -> pl.DataFrame:
    """Build the items frame from `(item_id, title, year or "", genres)`."""
    movies = []
    for number, title, year, genres in rows:
        plain, found = split_title(title)
        released = int(year) if re.fullmatch(r"\d{4}", year) else found
        movies.append((int(number), plain, sorted(genres), released))
    schema: dict[str, pl.DataType] = {
        "item_id": pl.Int64(),
        "title": pl.String(),
        "attributes": pl.List(pl.String()),
        "release_year": pl.Int64(),
    }
    return pl.DataFrame(movies, schema=schema, orient="row")


def split_title(title: str) -> tuple[str, int | None]:
    """Return a film's title as one reads it, without its year, and the year where it stands there.

    >>> split_title("Horseman on the Roof, The (Hussard sur le toit, Le) (1995)")
    ('The Horseman on the Roof (Le Hussard sur le toit)', 1995)
    """
    title = " ".join(title.replace("unkonwn", "unknown").split())  # RecBole's spelling of GroupLens's "unknown"
    year = re.search(r" ?\((\d{4})\)(?: \(?V\)?)?$", title)
    if year:
        title = title[: year.start()]
    for article in (r"The|An?|Le|La|Les|Il|El|O|Das|Der|Die|Det", "L'"):
        space = "" if article == "L'" else " "
        title = re.sub(rf"(^|\()([^()]+), ({article})(?= \(|\)|$)", rf"\1\3{space}\2", title)
    return title, int(year.group(1)) if year else None
