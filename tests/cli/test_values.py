"""Values typed on a command line."""

import polars as pl
import pytest

from recloom.cli.output import cell, print_table
from recloom.cli.values import (
    parse_cutoffs,
    parse_ids,
    parse_list,
    parse_numbers,
    parse_numbers_by_method,
    parse_seeds,
    parse_value,
    read_ids,
    read_numbers,
)
from recloom.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("64", 64), ("true", True), ("bce", "bce"), ('"a b"', "a b"), ("[1, 2]", [1, 2]),
        ("a=b", "a=b"), ("", ""), ("1\nother = 2", "1\nother = 2"), ("0x10", 16), ("-0.5", -0.5), ("True", "True"),
    ],
)  # fmt: skip
def test_value_is_toml_or_text(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_numbers():
    assert parse_numbers(["dim=64", "loss=bce", "lr=1e-3"]) == {"dim": 64, "loss": "bce", "lr": 1e-3}
    assert parse_numbers(None) == {}


@pytest.mark.parametrize("pairs", [["dim"], ["=3"], ["a b=3"], ["dim=1", "dim=2"]])
def test_numbers_not_of_the_form_are_refused(pairs):
    with pytest.raises(InputError, match=r"key=value|twice"):
        parse_numbers(pairs)


def test_numbers_for_one_method():
    pairs = ["epochs=3", "sasrec.lr=1e-3", "repeat-recent.length=5", "sasrec.loss=a.b"]
    assert parse_numbers_by_method(pairs) == (
        {"epochs": 3},
        {"sasrec": {"lr": 1e-3, "loss": "a.b"}, "repeat-recent": {"length": 5}},
    )


def test_lists():
    assert parse_list(" a, b ,,c") == ["a", "b", "c"]
    assert parse_ids(' a, "b,c" ,,d"e\nf') == ["a", "b,c", 'd"e', "f"]
    assert parse_ids("") == []
    assert parse_cutoffs("20,5,5") == (5, 20)
    assert parse_seeds("3,1") == [3, 1]


@pytest.mark.parametrize("text", ["", "0", "5,x", "-5", "1.5"])
def test_cutoffs_are_positive_whole_numbers(text):
    with pytest.raises(InputError, match="--k"):
        parse_cutoffs(text)


def test_ids_from_lines_and_tables(tmp_path):
    (tmp_path / "ids.txt").write_text("a\n\n b \n")
    (tmp_path / "ids.csv").write_text("item_id,name\n007,x\n8,y\n")
    pl.DataFrame({"item_id": [3, 4]}).write_parquet(tmp_path / "ids.parquet")
    assert read_ids(tmp_path / "ids.txt") == ["a", "b"]
    assert read_ids(tmp_path / "ids.csv") == ["007", "8"]
    assert read_ids(tmp_path / "ids.parquet") == [3, 4]
    assert read_ids(None) is None


def test_ids_that_cannot_be_read_name_the_file(tmp_path):
    (tmp_path / "wrong.csv").write_text("product\n1\n")
    with pytest.raises(InputError, match=r"wrong\.csv.*no column 'item_id'.*product"):
        read_ids(tmp_path / "wrong.csv")
    with pytest.raises(InputError, match=r"absent\.txt"):
        read_ids(tmp_path / "absent.txt")
    (tmp_path / "wrong.parquet").write_text("no")
    with pytest.raises(InputError, match=r"wrong\.parquet"):
        read_ids(tmp_path / "wrong.parquet")


def test_numbers_of_a_recipe(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text('method = "sasrec"\n[numbers]\ndim = 8\n')
    told = []
    assert read_numbers(file, "sasrec", told.append) == {"dim": 8} and not told
    with pytest.raises(InputError, match="not of 'pop'"):
        read_numbers(file, "pop", told.append)
    file.write_text("method =")
    with pytest.raises(InputError, match="TOML"):
        read_numbers(file, "sasrec", told.append)
    file.write_text('method = "sasrec"\n[number]\ndim = 8\n')
    with pytest.raises(InputError, match="unknown key 'number'"):
        read_numbers(file, "sasrec", told.append)
    file.write_text('method = "sasrec"\n[variants.wide]\ndim = 8\n')
    with pytest.raises(InputError, match=r"variants \(wide\)"):
        read_numbers(file, "sasrec", told.append)
    file.write_text('method = "s3rec"\nstage = "pretrain"\n')
    assert read_numbers(file, "s3rec", told.append) == {} and "stage='pretrain'" in told.pop()
    file.write_text('format = 1\nmethod = "sasrec"\n[numbers]\ndim = 8\n[training]\nseed = 2\nshare = 0.5\n')
    assert read_numbers(file, "sasrec", told.append) == {"dim": 8} and told.pop().endswith(": share=0.5")


def test_cells():
    assert [cell(v) for v in (0.05, 1234.5, 12101, None, True, ["a", 1])] == [
        "0.0500",
        "1,234.5",
        "12,101",
        "",
        "yes",
        "a, 1",
    ]


def test_plain_tables_do_not_wrap_or_change_ids(capsys):
    long = "x" * 300
    print_table([{"item_id": 1234567, "title": long}, {"item_id": 1, "title": "a"}], "Title", ids=("item_id",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Title"
    assert lines[2] == f"1234567  {long}"
    assert lines[3] == "1        a"
