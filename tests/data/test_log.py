"""Any source gives the same log, filters reach their fixed point, and bad logs say what is wrong."""

import datetime as dt
import importlib.util

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recloom.data.k_core import k_core
from recloom.data.log import read_log
from recloom.errors import InputError

duckdb = pytest.importorskip("duckdb")
OPEN = {"min_user": 0, "min_item": 0}

TO = {
    "lazy": lambda frame: frame.lazy(),
    "pandas": lambda frame: frame.to_pandas(),
    "pandas-arrow": lambda frame: frame.to_pandas(use_pyarrow_extension_array=True),
    "arrow": lambda frame: frame.to_arrow(),
    "duckdb": lambda frame: duckdb.from_arrow(frame.to_arrow()),
}


def small(**columns):
    """Three users, three items."""
    frame = {"user_id": [1, 1, 2, 2, 3, 3], "item_id": list("abbcca"), "timestamp": [1, 2, 3, 4, 5, 6]}
    return pl.DataFrame({**frame, **columns}, strict=False)


def random_log(rows=600, seed=0, nulls=True):
    draw = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "user_id": draw.zipf(1.4, rows) % 60,
            "item_id": [f"i{x}" for x in draw.zipf(1.5, rows) % 40],
            "timestamp": draw.permutation(rows),
        }
    )
    if nulls:
        frame = frame.with_columns(
            pl.when(pl.int_range(rows) % every != 0).then(name)
            for name, every in (("user_id", 41), ("item_id", 37), ("timestamp", 29))
        )
    return frame.select("timestamp", "user_id", "item_id", pl.lit("unused").alias("note"))


def histories(log):
    """user id -> item ids."""
    rows = np.split(log.items, log.offsets[1:-1])
    return {user: log.item_ids[row - 1].tolist() for user, row in zip(log.user_ids.tolist(), rows, strict=True)}


def same(one, two):
    assert one.user_ids.tolist() == two.user_ids.tolist() and one.user_ids.dtype == two.user_ids.dtype
    assert one.item_ids.tolist() == two.item_ids.tolist() and one.item_ids.dtype == two.item_ids.dtype
    np.testing.assert_array_equal(one.items, two.items)
    np.testing.assert_array_equal(one.offsets, two.offsets)
    np.testing.assert_array_equal(one.times, two.times)
    assert one.times.dtype == two.times.dtype and one.items.dtype == two.items.dtype == np.int32
    skip = {"source", "tie_rule"}
    assert {k: v for k, v in one.report.items() if k not in skip} == {
        k: v for k, v in two.report.items() if k not in skip
    }


# --- sources


@pytest.mark.parametrize("engine", TO)
@pytest.mark.parametrize("duplicates", ["keep", "drop"])
def test_every_engine_gives_the_same_log(engine, duplicates):
    frame = pl.concat([random_log(), random_log().head(50)])
    if engine == "duckdb":  # a relation has no order: its ties are ordered by item
        frame = frame.sort("item_id")
    expected = read_log(frame, min_user=4, min_item=3, duplicates=duplicates)
    assert expected.report["k_core"]["rounds"] > 1 and expected.report["nulls_dropped"]["rows"]
    assert (expected.report["duplicates_dropped"] > 0) == (duplicates == "drop")
    same(read_log(TO[engine](frame), min_user=4, min_item=3, duplicates=duplicates), expected)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abcdé"), st.integers(0, 9)), min_size=1, max_size=40),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_engines_agree_on_any_log(rows, min_user, min_item):
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").sort("item_id")
    found = []
    for source in (frame, TO["pandas"](frame), TO["duckdb"](frame)):
        try:
            found.append(read_log(source, min_user=min_user, min_item=min_item))
        except InputError as error:
            found.append(str(error))
    for other in found[1:]:
        if isinstance(found[0], str):
            assert other == found[0]
        else:
            same(other, found[0])


@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed")
def test_spark_gives_the_same_log(tmp_path):
    from pyspark.sql import SparkSession

    frame = random_log()
    frame.write_parquet(tmp_path / "log.parquet")
    session = SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", "2").getOrCreate()
    try:
        same(read_log(session.read.parquet(str(tmp_path / "log.parquet")), min_user=4), read_log(frame, min_user=4))
    finally:
        session.stop()


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "semicolon.csv", "bom.csv", "csv.gz"])
def test_files_give_the_same_log(tmp_path, kind):
    frame = random_log()
    file = tmp_path / f"log.{kind}"
    if kind == "parquet":
        frame.write_parquet(file)
    elif kind == "csv.gz":
        frame.to_pandas().to_csv(file, index=False)
    else:
        separator = {"tsv": "\t", "semicolon.csv": ";"}.get(kind, ",")
        frame.write_csv(file, separator=separator, include_bom=kind == "bom.csv")
    same(read_log(file), read_log(frame))
    same(read_log(str(file)), read_log(frame))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_patterns_and_folders_are_read_in_order_of_name(tmp_path, kind):
    frame = small(timestamp=[7] * 6)
    for number, part in enumerate((frame[:1], frame[1:4], frame[4:])):
        getattr(part, f"write_{kind}")(tmp_path / f"day-{number}.{kind}")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part.crc").write_bytes(b"x")
    expected = read_log(frame, **OPEN)
    assert histories(expected) == {1: ["a", "b"], 2: ["b", "c"], 3: ["c", "a"]}
    same(read_log(tmp_path, **OPEN), expected)
    same(read_log(f"{tmp_path}/day-*.{kind}", **OPEN), expected)
    assert len(read_log(f"{tmp_path}/day-[01].{kind}", **OPEN).items) == 4


# --- ids


@pytest.mark.parametrize(
    ("ids", "expected", "kind"),
    [
        ([10, 10, 9, 9, 1, 1], [1, 9, 10], "integers"),
        ([10.0, 10.0, 9.0, 9.0, -1.0, -1.0], [-1, 9, 10], "integers"),
        (["10", "10", "9", "9", "1", "1"], [1, 9, 10], "integers"),
        (["10", "10", "09", "09", "1", "1"], ["09", "1", "10"], "text"),
        (["b", "b", "é", "é", "10", "10"], ["10", "b", "é"], "text"),
        ([2**62, 2**62, 5, 5, 1, 1], [1, 5, 2**62], "integers"),
    ],
)
def test_ids_are_sorted_and_plain_integers_become_integers(ids, expected, kind):
    for frame in (small(user_id=ids), small(user_id=ids).to_pandas(), TO["duckdb"](small(user_id=ids))):
        log = read_log(frame, **OPEN)
        assert log.user_ids.tolist() == expected and log.report["user_ids"] == kind
        assert log.user_ids.dtype == (np.int64 if kind == "integers" else object)


def test_mixed_ids_become_text_and_the_report_says_so():
    for missing in (None, np.nan, pd.NA):
        frame = small().to_pandas().assign(item_id=pd.Series([1, "x", 1.0, np.int32(7), 7, missing], dtype=object))
        log = read_log(frame, **OPEN)
        assert log.report["item_ids"] == "mixed types, kept as text"
        assert histories(log) == {1: ["1", "x"], 2: ["1", "7"], 3: ["7"]}
        assert log.report["nulls_dropped"] == {"rows": 1, "user_id": 0, "item_id": 1, "timestamp": 0}


def test_integers_beyond_64_bits_become_text():
    log = read_log(small(user_id=pl.Series([2**63 + 1] * 2 + [5] * 4, dtype=pl.UInt64)), **OPEN)
    assert log.user_ids.tolist() == ["5", str(2**63 + 1)] and "64 bits" in log.report["user_ids"]


def test_categories_are_text():
    frame = small().with_columns(pl.col("item_id").cast(pl.Categorical))
    assert histories(read_log(frame, **OPEN)) == histories(read_log(frame.to_pandas(), **OPEN))


# --- times


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([6, 5, 4, 3, 2, 1], [5, 6, 3, 4, 1, 2]),
        ([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [5, 6, 3, 4, 1, 2]),
        ([6.5, 5.0, 4.0, 3.0, 2.0, 1.0], [5.0, 6.5, 3.0, 4.0, 1.0, 2.0]),
        (["6", "5", "4", "3", "2", "1"], [5, 6, 3, 4, 1, 2]),
        (["6.5", "5", "4", "3", "2", "1"], [5.0, 6.5, 3.0, 4.0, 1.0, 2.0]),
        ([dt.date(1970, 1, day) for day in (6, 5, 4, 3, 2, 1)], [4 * 86400, 5 * 86400, 2 * 86400, 3 * 86400, 0, 86400]),
        (
            [
                *("1970-01-02", "1970-01-01 00:00:01", "1970-01-01T00:00:02Z", "1970-01-01T02:00:01+02:00"),
                *("1970-01-01T00:01", "1970-01-01T00:00:00.000"),
            ],
            [1, 86400, 1, 2, 0, 60],
        ),
        (
            [
                *(
                    "1970-01-02 00:00:00+00",
                    "1970-01-01 00:00:01 UTC",
                    "1969-12-31T19:00:02-05",
                    "1970-01-01T02:30:01+0230",
                ),
                *("1970-01-01 00:01:00UTC", "1970-01-01 00:00:00.000+00:00"),
            ],
            [1, 86400, 1, 2, 0, 60],
        ),
        ([dt.datetime(1970, 1, 1, 0, 0, s, 500_000) for s in (6, 5, 4, 3, 2, 1)], [5.5, 6.5, 3.5, 4.5, 1.5, 2.5]),
    ],
)
def test_times_of_every_kind(times, expected, tmp_path):
    frame = small(timestamp=times)
    frame.write_csv(tmp_path / "log.csv")
    for source in (frame, frame.to_pandas(), TO["duckdb"](frame), tmp_path / "log.csv"):
        log = read_log(source, **OPEN)
        assert log.times.tolist() == expected
        assert log.times.dtype == (np.int64 if isinstance(expected[0], int) else np.float64)


def test_time_zones_and_nanoseconds_are_kept():
    zoned = pl.datetime_range(
        dt.datetime(2024, 7, 1), dt.datetime(2024, 7, 6), "1d", time_zone="Europe/Paris", eager=True
    )
    assert read_log(small(timestamp=zoned), **OPEN).times[0] == dt.datetime(2024, 6, 30, 22, tzinfo=dt.UTC).timestamp()
    base = 1_700_000_000 * 10**9
    close = pl.Series([base + 2, base + 1, base, base + 3, base, base + 1], dtype=pl.Int64).cast(pl.Datetime("ns"))
    log = read_log(small(timestamp=close), **OPEN)
    assert histories(log)[1] == ["b", "a"] and log.report["ties"] == 0


def test_without_times_the_source_order_counts():
    frame = small(timestamp=[9, 1, 9, 1, 9, 1])
    log = read_log(frame[::-1], time=None, **OPEN)
    assert log.times is None and histories(log) == {1: ["b", "a"], 2: ["c", "b"], 3: ["a", "c"]}
    with pytest.raises(InputError, match="no order of rows"):
        read_log(TO["duckdb"](frame), time=None, **OPEN)


def test_ties_keep_the_order_of_the_source_or_follow_the_item_id():
    frame = small(user_id=[1, 1, 1, 1, 2, 2], item_id=list("cbacab"), timestamp=[5, 5, 4, 5, 1, 2])
    for engine in ("lazy", "pandas", "arrow"):
        log = read_log(TO[engine](frame), **OPEN)
        assert histories(log)[1] == ["a", "c", "b", "c"]
        assert log.report["ties"] == 2 and "order of the source" in log.report["tie_rule"]
    log = read_log(TO["duckdb"](frame), **OPEN)
    assert histories(log)[1] == ["a", "b", "c", "c"]
    assert log.report["ties"] == 2 and "item id" in log.report["tie_rule"]


@pytest.mark.parametrize("scale", [1, 2**40])
def test_sorting_is_stable_for_near_and_far_times(scale):
    draw = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "user_id": draw.integers(0, 5, 400),
            "item_id": draw.integers(0, 50, 400),
            "timestamp": draw.integers(-9, 9, 400) * scale * 2**10,
        }
    )
    expected = frame.sort("user_id", "timestamp", maintain_order=True)
    log = read_log(frame, **OPEN)
    assert log.item_ids[log.items - 1].tolist() == expected["item_id"].to_list()
    assert log.times.tolist() == expected["timestamp"].to_list()


# --- filters


def slow_core(rows, min_user, min_item):
    while True:
        kept = [
            (u, i)
            for u, i in rows
            if sum(x == u for x, _ in rows) >= min_user and sum(y == i for _, y in rows) >= min_item
        ]
        if len(kept) == len(rows):
            return kept
        rows = kept


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40), st.integers(0, 4), st.integers(0, 4))
def test_k_core_reaches_the_fixed_point(rows, min_user, min_item):
    users, items = (np.array([row[side] for row in rows], dtype=np.int32) for side in (0, 1))
    kept, removed = k_core(users, items, min_user, min_item)
    left = rows if kept is None else [rows[place] for place in kept]
    assert left == slow_core(rows, min_user, min_item)
    assert removed.by_items + removed.by_users == len(rows) - len(left)
    assert (removed.rounds == 0) == (len(left) == len(rows))


def test_the_report_counts_what_was_removed():
    frame = small(user_id=[1, 1, 2, 2, 3, 3], item_id=["a", "b", "a", "b", "b", "c"])
    log = read_log(frame, min_user=2, min_item=2)
    assert log.report["k_core"] == {
        "min_user": 2, "min_item": 2, "rounds": 1, "users_removed": 1, "items_removed": 1, "actions_removed": 2,
        "actions_of_rare_items": 1, "actions_of_rare_users": 1,
    }  # fmt: skip
    assert histories(log) == {1: ["a", "b"], 2: ["a", "b"]}
    assert log.report["rows_read"] == 6


def test_duplicates_are_rows_equal_in_user_item_and_time():
    frame = small(user_id=[1, 1, 1, 1, 2, 2], item_id=list("aabaab"), timestamp=[1, 1, 1, 2, 1, 2])
    kept = read_log(frame, **OPEN)
    assert histories(kept)[1] == ["a", "a", "b", "a"] and kept.report["duplicates_kept"] == 1
    for source in (frame, TO["pandas"](frame), TO["duckdb"](frame)):
        log = read_log(source, duplicates="drop", **OPEN)
        assert histories(log)[1] == ["a", "b", "a"]
        assert log.report["duplicates_dropped"] == 1 and log.report["duplicates_kept"] == 0
    with pytest.raises(InputError, match="needs times"):
        read_log(frame, time=None, duplicates="drop")


def test_what_programs_write_for_a_missing_value_in_text_is_one(tmp_path):
    rows = ["NaN,a,1", "u,null,2", "u,b,NULL", "nan,b,3", "u,Nan,4", ",c,5", "v,b,6", "v,Nan,7"]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    log = read_log(tmp_path / "log.csv", min_user=0, min_item=0)
    assert log.report["nulls_dropped"] == {"rows": 5, "user_id": 3, "item_id": 1, "timestamp": 1}
    assert list(log.item_ids) == ["Nan", "b"] and list(log.user_ids) == ["u", "v"]


def test_nulls_are_counted_by_column_and_nan_is_one(tmp_path):
    frame = small(user_id=[1, None, 2, 2, 3, 3], timestamp=[1.0, None, float("nan"), 4.0, 5.0, 6.0])
    frame.write_csv(tmp_path / "log.csv")
    for source in (frame, frame.to_pandas(), TO["duckdb"](frame)):
        report = read_log(source, **OPEN).report
        assert report["nulls_dropped"] == {"rows": 2, "user_id": 1, "item_id": 0, "timestamp": 2}
        assert report["user_ids"] == "integers"


# --- errors


@pytest.mark.parametrize("engine", ["polars", "pandas", "duckdb"])
@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (small().rename({"user_id": "userId"}), {}, r"no column 'user_id'.*'userId', 'item_id'.*Did you mean 'userId'"),
        (small().rename({"user_id": "customer"}), {}, r"--user customer"),
        (small().rename({"item_id": "Product ID"}), {}, r"item='Product ID'"),
        (small().rename({"timestamp": "date"}), {}, r"--time date.*time=None"),
        (small(), {"user": "xyz"}, r"'xyz'.*--user user_id"),
        (small(), {"user": "item_id"}, r"user and item are both 'item_id'"),
        (small().clear(), {}, "no rows"),
        (small(timestamp=["1", "2", "3", "4", "5", "yesterday"]), {}, "'yesterday' is no time"),
        (small(timestamp=["2024-01-01"] * 5 + ["2024-13-01"]), {}, "'2024-13-01' is no time"),
        (small(timestamp=[1.0, 2.0, 3.0, 4.0, 5.0, float("inf")]), {}, "inf is no time"),
        (small(timestamp=[True] * 6), {}, "are no times"),
        (small(user_id=range(6)), {}, r"all 6 values of column 'user_id' are distinct.*--user"),
        (small(item_id=range(6)), {}, r"all 6 values of column 'item_id' are distinct.*--item"),
        (small(user_id=[7] * 6), {}, "only one user in the log"),
        (small(item_id=[7] * 6), {}, "only one item in the log"),
        (small(user_id=[None] * 6), {}, r"each of its 6 rows has a null \(user_id: 6"),
        (small(item_id=[1.5, 2, 3] * 2), {}, "1.5, which is no item id"),
        (small(item_id=[True, False] * 3), {}, "no ids"),
        (small(), {"min_user": 3}, r"nothing is left.*6 rows were read.*min_user=3 removed 6"),
        (small(), {"min_item": 3}, r"nothing is left.*min_item=3 removed 6"),
        (small(user_id=[1, 1, 1, 2, 3, 3]), {"min_user": 3}, "only one user is left after the filters"),
        (small(), {"min_user": -1}, "min_user=-1"),
        (small(), {"min_item": 2.5}, "min_item=2.5"),
        (small(), {"duplicates": "remove"}, "'keep' or 'drop'"),
    ],
)
def test_a_bad_log_says_what_is_wrong(engine, frame, options, message):
    source = frame if engine == "polars" else TO[engine](frame)
    with pytest.raises(InputError, match=f"(?s){message}"):
        read_log(source, **{**OPEN, **options})


def test_an_unreadable_time_names_its_row():
    frame = small(user_id=[None, 1, 2, 2, 3, 3], timestamp=["1", "2", "3", "4", "x", "y"])
    with pytest.raises(InputError, match=r"the log \(polars frame\), row 5, column 'timestamp': 'x'.*\(1 more row"):
        read_log(frame, **OPEN)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_of_several_files_the_one_with_an_unreadable_time_is_named(tmp_path, kind):
    good, bad = small(timestamp=list("123456")), small(timestamp=["1", "2", "3", "4", "x", "y"])
    for name, frame in (("a", good), ("b", bad), ("c", good)):
        getattr(frame, f"write_{kind}")(tmp_path / f"{name}.{kind}")
    with pytest.raises(InputError, match=rf"b\.{kind}, row 5, column 'timestamp': 'x'.*\(1 more row"):
        read_log(tmp_path / f"*.{kind}", **OPEN)
    with pytest.raises(InputError, match=rf"b\.{kind}, row 5, column 'timestamp': 'x'"):
        read_log(tmp_path / f"[ab].{kind}", **OPEN)


def write(path, data):
    path.write_bytes(data)
    return path


def test_files_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*absent\.csv"):
        read_log(tmp_path / "absent.csv")
    with pytest.raises(InputError, match=r"folder .* does not exist"):
        read_log(tmp_path / "nowhere" / "log.csv")
    with pytest.raises(InputError, match="no file matches"):
        read_log(f"{tmp_path}/*.parquet")
    with pytest.raises(InputError, match="holds no table"):
        read_log(tmp_path)
    with pytest.raises(InputError, match=r"suffix \.xlsx is not known"):
        read_log(write(tmp_path / "log.xlsx", b"PK"))
    with pytest.raises(InputError, match="is empty"):
        read_log(write(tmp_path / "empty.csv", b""))
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_log(write(tmp_path / "broken.parquet", b"PAR1 not really"))
    with pytest.raises(InputError, match="cannot be read"):
        read_log(write(tmp_path / "latin.csv", "user_id,item_id,timestamp\n1,caf\xe9,3\n".encode("latin-1")))
    with pytest.raises(InputError, match="cannot be read"):
        read_log(write(tmp_path / "ragged.csv", b"user_id,item_id,timestamp\n1,2,3\n1,2,3,4\n"))
    with pytest.raises(InputError, match="no rows"):
        read_log(write(tmp_path / "header.csv", b"user_id,item_id,timestamp\n"))
    with pytest.raises(InputError, match="add a header line"):
        read_log(write(tmp_path / "headless.csv", b"1,2,3\n1,2,4\n"))
    with pytest.raises(InputError, match="several kinds"):
        read_log(tmp_path)


@pytest.mark.parametrize("source", [7, [1, 2], {"a": [1]}, None, pd.Series([1])])
def test_what_is_no_table_is_refused(source):
    with pytest.raises(InputError, match="no table"):
        read_log(source)


def test_an_arrow_table_of_dictionaries_is_read():
    table = small().to_arrow()
    place = table.schema.get_field_index("item_id")
    table = table.set_column(place, "item_id", pa.array(list("abbcca")).dictionary_encode())
    same(read_log(table, **OPEN), read_log(small(), **OPEN))


def test_a_quote_that_is_not_closed_names_its_row(tmp_path):
    rows = [f"u{i % 3}\ti{i % 5}\t{i}" for i in range(16)]
    rows[5], rows[11] = 'u1\t"i1\t5', 'u1\ti3"\t11'
    (tmp_path / "log.tsv").write_text("\n".join(["user_id\titem_id\ttimestamp", *rows]))
    with pytest.raises(InputError, match=r"log\.tsv, row 6: the value that begins with .*a quote there is not closed"):
        read_log(tmp_path / "log.tsv", **OPEN)
    (tmp_path / "log.csv").write_text('user_id,item_id,timestamp\n1,"Weird Al" Yankovic,3\n1,2,3\n')
    with pytest.raises(InputError, match=r"Weird Al.*its own quotes twice"):
        read_log(tmp_path / "log.csv", **OPEN)


@pytest.mark.parametrize("second", ["item_id,user_id,timestamp\n1,2,3\n", "1,2,3\n4,5,6\n"])
def test_files_with_other_columns_are_named(tmp_path, second):
    (tmp_path / "1.csv").write_text("user_id,item_id,timestamp\n1,2,3\n")
    (tmp_path / "2.csv").write_text(second)
    with pytest.raises(InputError, match=r"2\.csv has the columns .*1\.csv .*same header line"):
        read_log(tmp_path, **OPEN)


@pytest.mark.parametrize(("dtype", "least"), [(pl.Float64, 2**53), (pl.Float32, 2**24)])
def test_ids_that_floats_would_merge_are_refused(dtype, least):
    frame = small(item_id=pl.Series([least, least + 2, least, 2, 2, None], dtype=dtype))
    with pytest.raises(InputError, match=rf"item id {least} as {dtype}.*`Int64`"):
        read_log(frame, **OPEN)
    read_log(small(item_id=pl.Series([least - 1, least - 1, 1, 2, 2, None], dtype=dtype)), **OPEN)


def test_columns_without_names_are_told():
    numbered = pd.DataFrame([[1, 2, 3]] * 3)
    with pytest.raises(InputError, match="user=0 is no name"):
        read_log(numbered, user=0, item=1, time=2, **OPEN)
    with pytest.raises(InputError, match=r"user_id.*2 times.*its own name"):
        read_log(pd.DataFrame([[1, 2, 3, 4]], columns=["user_id", "user_id", "item_id", "timestamp"]), **OPEN)
