"""External ids to indices and back, attributes as sets, and a file that gives back what was saved."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recloom.data.catalog import PAD, Catalog
from recloom.data.items_table import build_catalog, read_items
from recloom.errors import InputError


def catalog(ids=(10, 20, 30)):
    return Catalog(
        np.asarray(ids),
        titles=["Ten", None, "Thirty"],
        attribute_names=["x", "y"],
        attribute_offsets=np.array([0, 0, 2, 2, 3, 3]),
        attribute_values=np.array([1, 2, 2]),
        train_counts=np.array([0, 3, 2, 1, 0]),
        all_counts=np.array([0, 5, 4, 3, 0]),
    )


def named(catalog):
    """item id -> set of attribute names."""
    indices = range(1, catalog.n_items + 1)
    return {id: catalog.attributes_of(index) for id, index in zip(catalog.item_ids.tolist(), indices, strict=True)}


def test_indices_titles_and_attributes():
    found = catalog()
    assert (found.n_items, found.mask_id, found.n_rows, found.n_attributes, PAD) == (3, 4, 5, 2, 0)
    assert found.decode([3, 1]) == [30, 10] and found.decode(np.array([2])) == [20]
    assert [found.title(index) for index in (1, 2, 3)] == ["Ten", "20", "Thirty"]
    assert named(found) == {10: ["x", "y"], 20: [], 30: ["y"]}


@pytest.mark.parametrize("index", [0, 4, -1, 99])
def test_what_is_no_item_is_refused(index):
    for ask in (lambda x: catalog().decode([1, x]), catalog().title, catalog().attributes_of):
        with pytest.raises(InputError, match=f"{index} is no item"):
            ask(index)


def test_integers_are_found_however_they_are_written():
    found = catalog()
    assert found.encode([20, "30", 10.0, np.int32(20), "x", None, 99, "010", True, 10.5]).tolist() == [
        2, 3, 1, 2, 0, 0, 0, 0, 0, 0,
    ]  # fmt: skip
    assert found.encode(np.array([30, 5], dtype=np.int32)).tolist() == [3, 0]
    assert found.encode(np.array([30.0, np.nan])).tolist() == [3, 0]
    assert found.encode([]).dtype == found.encode([20]).dtype == np.int64
    assert found.encode([2**70, float("inf")]).tolist() == [0, 0]


def test_text_is_found_by_integers_of_its_digits():
    found = catalog(["7", "a", "07"])
    assert found.encode([7, "a", "07", 8, None, 7.0, np.int64(7)]).tolist() == [1, 2, 3, 0, 0, 1, 1]
    assert found.encode(np.array(["a", "b"])).tolist() == [2, 0]
    assert all(type(x) is str for x in found.decode([1, 2, 3]))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, unique=True), st.lists(st.integers(-(2**63), 2**63 - 1)))
@example([-(2**63), 2**63 - 1], [-(2**63), 0])
def test_encode_undoes_decode_in_any_order(ids, others):
    found = Catalog(np.array(ids, dtype=np.int64))
    assert found.decode(found.encode(ids)) == ids
    expected = [ids.index(x) + 1 if x in ids else 0 for x in others]
    assert found.encode(others).tolist() == expected == found.encode(np.array(others, dtype=np.int64)).tolist()


@pytest.mark.parametrize("ids", [(10, 20, 30), ("a", "b", "ü")])
def test_saved_and_loaded_again(tmp_path, ids):
    one = catalog(ids)
    one.save(tmp_path)
    two = Catalog.load(tmp_path)
    for name in ("item_ids", "attribute_offsets", "attribute_values", "train_counts", "all_counts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert getattr(one, name).dtype == getattr(two, name).dtype
    assert two.titles == one.titles and two.attribute_names == one.attribute_names
    assert two.fingerprint() == one.fingerprint()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.json", "catalog.parquet"]
    bare = Catalog(np.array(ids))
    bare.save(tmp_path)
    assert Catalog.load(tmp_path).titles is None and Catalog.load(tmp_path).n_attributes == 0


def test_fingerprints_tell_catalogs_apart():
    other = catalog()
    other.attribute_names = ["x", "z"]
    prints = {catalog().fingerprint(), catalog((10, 20, 31)).fingerprint(), other.fingerprint()}
    prints |= {catalog(("10", "20", "30")).fingerprint(), catalog(("1", "020", "30")).fingerprint()}
    assert len(prints) == 5


def spoil_json(folder):
    facts = json.loads((folder / "catalog.json").read_text())
    (folder / "catalog.json").write_text(json.dumps({**facts, "attribute_names": ["x"]}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "catalog.json").unlink(), r"no catalog\.json"),
        (lambda f: (f / "catalog.parquet").unlink(), r"no catalog\.parquet"),
        (lambda f: (f / "catalog.json").write_text("{"), r"catalog\.json is damaged"),
        (lambda f: (f / "catalog.json").write_text("[]"), "format None"),
        (lambda f: (f / "catalog.json").write_text('{"format": 99}'), "format 99"),
        (lambda f: (f / "catalog.parquet").write_bytes(b"PAR1"), r"catalog\.parquet is damaged"),
        (
            lambda f: catalog((1, 2, 3)).save(f / "x") or (f / "x/catalog.parquet").rename(f / "catalog.parquet"),
            "damaged",
        ),
        (spoil_json, r"catalog\.parquet is damaged"),
    ],
)
def test_damaged_files_are_named(tmp_path, damage, message):
    catalog().save(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        Catalog.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item_ids": np.array([1, 1])}, "more than once"),
        ({"item_ids": np.array([], dtype=np.int64)}, "no items"),
        ({"item_ids": np.array(["a", 1], dtype=object)}, "all integers or all text"),
        ({"titles": ["a"]}, "1 titles for 2 items"),
        ({"train_counts": np.zeros(2)}, "train_counts"),
        ({"attribute_offsets": np.array([0, 1, 1, 1, 1]), "attribute_values": np.array([1])}, "PAD"),
        ({"attribute_offsets": np.array([0, 0, 1, 1, 1]), "attribute_values": np.array([1])}, "1..0"),
    ],
)
def test_arrays_must_fit(change, message):
    with pytest.raises(InputError, match=message):
        Catalog(**{"item_ids": np.array([1, 2]), **change})


# --- the table of items


def built(frame, ids=(1, 2, 3), **options):
    return build_catalog(np.array(ids), np.zeros(len(ids) + 2, dtype=np.int64), read_items(frame, **options))


TABLE = {
    "item_id": [3, 1, 2, 9],
    "title": ["Three", "One", None, "Nine"],
    "attributes": [["b", "a", "b", None], [], None, ["z"]],
}


def test_a_table_of_items_need_not_call_the_id_as_the_log_does():
    frame = pl.DataFrame({"item_id": ["a", "b"], "title": ["A", "B"]})
    assert read_items(frame, "sku").ids.to_list() == ["a", "b"]
    with pytest.raises(InputError, match="no column 'sku'"):
        read_items(frame.rename({"item_id": "id"}), "sku")


@pytest.mark.parametrize("to", [pl.DataFrame, pl.LazyFrame, lambda x: pl.DataFrame(x).to_arrow(), pd.DataFrame])
def test_lists_become_sets(to):
    found, report = built(to(TABLE))
    assert named(found) == {1: [], 2: [], 3: ["a", "b"]} and found.attribute_names == ["a", "b"]
    assert found.titles == ["One", None, "Three"]
    assert (report["not_in_the_prepared_log"], report["items_without_row"]) == (1, 0)


def test_several_columns_stay_apart():
    frame = pl.DataFrame(
        {
            "item_id": ["1", "2", "3"],
            "brand": ["a", "b", ""],
            "category": ["a|b|a", "b", None],
            "year": [1999.0, None, 2001.0],
        }
    )
    found, _ = built(frame)
    assert named(found) == {1: ["brand=a", "category=a", "category=b"], 2: ["brand=b", "category=b"], 3: []}
    found, _ = built(frame, attributes=["year"])
    assert named(found) == {1: ["1999"], 2: [], 3: ["2001"]}
    assert built(frame, attributes=[])[0].n_attributes == 0
    assert built(frame, attributes="brand")[0].attribute_names == ["a", "b"]


def test_integers_are_ordered_by_value():
    found, _ = built(pl.DataFrame({"item_id": [1, 2], "attributes": [[10, 9], [100, 9, 9]]}))
    assert found.attribute_names == ["9", "10", "100"] and found.attribute_values.tolist() == [1, 2, 1, 3]


def test_repeated_rows_are_merged_and_null_ids_dropped():
    frame = pl.DataFrame({"item_id": [1, 1, None], "name": [None, "One", "?"], "genres": [["a"], ["b"], ["c"]]})
    found, report = built(frame, title="name")
    assert named(found)[1] == ["a", "b"] and found.titles == ["One", None, None]
    assert report["nulls_dropped"] == 1 and report["rows_of_the_same_item"] == 1 and report["items_without_row"] == 2


def test_a_csv_table_is_read(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,title,genres\n1,One,Action|Comedy\n2,Two,\n")
    found, _ = built(tmp_path / "items.csv")
    assert named(found) == {1: ["Action", "Comedy"], 2: [], 3: []}


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        ({"id": [1]}, {}, r"no column 'item_id'.*--item"),
        ({"item_id": [1], "brands": ["a"]}, {"attributes": ["brand"]}, r"no column 'brand'.*'brands'"),
        ({"item_id": [1]}, {"title": "name"}, r"no column 'name'"),
        ({"item_id": []}, {}, "no rows"),
        ({"item_id": ["x"]}, {}, r"none of its 1 ids is in the log.*'x'"),
        ({"item_id": [1], "attributes": [[["a"]]]}, {}, "single values or lists"),
    ],
)
def test_a_bad_table_says_what_is_wrong(frame, options, message):
    with pytest.raises(InputError, match=message):
        built(pl.DataFrame(frame), **options)
