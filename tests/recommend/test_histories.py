"""Histories in every accepted shape, and what is said about the others."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from recloom.errors import InputError
from recloom.recommend.histories import read_histories

from .conftest import make_catalog


@pytest.fixture
def catalog():
    return make_catalog([10, 20, 30, 40])


FRAME = pl.DataFrame(
    {"user_id": ["b", "a", "b", "c", "b", "a"], "item_id": [20, 10, 99, 98, 40, 30], "timestamp": [3, 2, 2, 1, 1, 2]}
)


def as_lists(read):
    return [read.items[a:b].tolist() for a, b in zip(read.offsets[:-1], read.offsets[1:], strict=True)]


@pytest.mark.parametrize(
    "histories",
    [
        [[10, 20], [40]],
        [(10, 20), (40,)],
        ([10, 20], [40]),
        [np.array([10, 20]), np.array([40])],
        [pl.Series([10, 20]), pd.Series([40])],
        [["10", "20"], ["40"]],
        iter([[10, 20], [40]]),
        pl.Series([[10, 20], [40]]),
        [iter([10, 20]), range(40, 41)],
    ],
)
def test_lists(histories, catalog):
    read = read_histories(histories, catalog)
    assert as_lists(read) == [[1, 2], [4]] and list(read.users) == [0, 1] and read.unknown_items == 0


def test_unknown_items_leave_no_gap(catalog):
    read = read_histories([[10, 99, 20], [], [98], [97, 40]], catalog)
    assert as_lists(read) == [[1, 2], [], [], [4]] and read.unknown_items == 3
    assert as_lists(read.part(2, 4)) == [[], [4]] and list(read.part(2, 4).users) == [2, 3]


@pytest.mark.parametrize(
    "convert",
    [
        lambda frame: frame,
        lambda frame: frame.lazy(),
        lambda frame: frame.to_pandas(),
        lambda frame: frame.to_arrow(),
        lambda frame: frame.with_columns(pl.col("user_id").cast(pl.Categorical)),
        lambda frame: frame.with_columns(pl.col("item_id").cast(pl.String)),
        lambda frame: frame.with_columns(pl.col("item_id").cast(pl.Float64)),
        lambda frame: frame.with_columns(pl.from_epoch("timestamp")),
        lambda frame: frame.with_columns((10 ** pl.col("timestamp")).cast(pl.String)),
        lambda frame: frame.with_columns(
            pl.col("timestamp").replace_strict(
                {1: "2024-05-01T23:30:00+09:00", 2: "2024-05-01T20:30:00Z", 3: "2024-05-01T17:30:00-05:00"}
            )
        ),
    ],
)
def test_frames(convert, catalog):
    read = read_histories(convert(FRAME), catalog)
    assert list(read.users) == ["b", "a", "c"]  # in the order of first appearance
    assert as_lists(read) == [[4, 2], [1, 3], []]  # by time, ties in the order of the rows
    assert read.unknown_items == 2


def test_a_frame_without_times_keeps_its_order(catalog):
    assert as_lists(read_histories(FRAME.drop("timestamp"), catalog)) == [[2, 4], [1, 3], []]


def test_missing_ids_in_a_frame_are_unknown(catalog):
    frame = pd.DataFrame({"user_id": [1, 1, 1, 2], "item_id": [10, None, 20.5, 40]})
    read = read_histories(frame, catalog)
    assert as_lists(read) == [[1], [4]] and read.unknown_items == 2
    assert as_lists(read_histories(pa.table({"user_id": [1, 1], "item_id": ["40", None]}), catalog)) == [[4]]


def test_an_empty_frame(catalog):
    assert len(read_histories(FRAME.clear(), catalog)) == 0


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ([10, 20], r"one flat list of ids \(it holds 10\).*\[\[10, ...\]\]"),
        (["a", "b"], r"one flat list of ids \(it holds 'a'\)"),
        (np.array([10, 20]), "one flat list of ids"),
        ([{10, 20}], "history 0 is a set, which has no order"),
        ([[10], None], "history 1 is a NoneType"),
        ("a,b", "histories is a str"),
        ({"anna": [10]}, "histories is a dict"),
        (5, "histories is a int"),
        (FRAME.with_columns(timestamp=pl.lit("5/1/2024")), "row 1, column 'timestamp': '5/1/2024' is no time.*ISO"),
        (FRAME.rename({"item_id": "product"}), "no column 'item_id'; it has user_id, product, timestamp"),
        (FRAME.with_columns(user_id=pl.lit(None)), "column 'user_id' holds 6 nulls"),
    ],
)
def test_what_cannot_be_read(histories, message, catalog):
    with pytest.raises(InputError, match=message):
        read_histories(histories, catalog)


def test_user_ids_beside_a_frame_are_refused(catalog):
    with pytest.raises(InputError, match="come with the histories"):
        read_histories(FRAME, catalog, user_ids=["a"])
