"""`recommend --cold`: items that training never saw, from the log to the printed list."""

import json

import polars as pl
import pytest

from recloom.cli import main

NEW = {50, 150}
"""One in each group of items; they occur only as the last action of a history, which is held out."""


def call(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run of FM that reads attributes, and one of SASRec."""
    folder = tmp_path_factory.mktemp("cold")
    rows = [
        (user, 100 * (user % 2) + item, time)
        for user in range(40)
        for time, item in enumerate([*((user + step) % 8 for step in range(5)), 50])
    ]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    log.write_csv(folder / "log.csv")
    ids = log["item_id"].unique().sort().to_list()
    items = pl.DataFrame({"item_id": ids, "attributes": [[f"group {i // 100}"] for i in ids]})
    items.write_parquet(folder / "items.parquet")
    small = ["dim=8", "--epochs", "1", "--no-progress"]
    prepare = ["prepare", folder / "log.csv", "-o", folder / "data", "--items", folder / "items.parquet"]
    assert not call(*prepare, "--min-user", "0", "--min-item", "0")
    assert not call("train", "fm", folder / "data", "-o", folder / "fm", *small)
    assert not call("train", "sasrec", folder / "data", "-o", folder / "sasrec", *small)
    return folder


def listed(capsys, *arguments):
    capsys.readouterr()
    assert not call("recommend", *arguments, "--history", "1,2", "-k", "100", "--json")
    return {row["item_id"] for row in json.loads(capsys.readouterr().out)}


def test_cold_items_are_listed_only_with_the_option(place, capsys):
    without, with_cold = listed(capsys, place / "fm"), listed(capsys, place / "fm", "--cold")
    assert without and not without & NEW
    assert with_cold - without == NEW


def test_files_take_the_option_too(place, capsys):
    for options in ([], ["--cold"]):
        assert not call("recommend", place / "fm", "--all", "-o", place / "next.parquet", "-k", "100", *options)
        found = set(pl.read_parquet(place / "next.parquet")["item_id"].to_list())
        assert bool(found & NEW) == bool(options)


def test_a_method_without_attributes_refuses(place, capsys):
    assert call("recommend", place / "sasrec", "--history", "1,2", "--cold") == 2
    assert "does not score items by their attributes" in " ".join(capsys.readouterr().err.split())


def test_help_shows_an_example(capsys):
    assert not call("recommend", "--help")
    assert "--cold" in capsys.readouterr().out


def test_training_says_that_attributes_are_not_read_and_by_what_they_would_be(place, capsys):
    for method, said in (("sasrec", True), ("fm", False)):
        assert not call(
            "train", method, place / "data", "-o", place / method, "dim=8", "--epochs", "1", "--no-progress"
        )
        err = capsys.readouterr().err
        assert ("sasrec does not read the attributes" in err and "loom" in err and "fdsa" in err) == said
