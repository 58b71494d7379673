"""A file of recommendations: the same as in memory, part by part, whole or not there."""

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from recloom.errors import InputError
from recloom.recommend import Recommender
from recloom.recommend import to_parquet as module

from .conftest import LastItem


@pytest.fixture
def recommender(catalog, vectors):
    return Recommender(LastItem(vectors), catalog)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_PART", 5 * 3)  # three histories a part with k = 5


def test_equals_what_is_found_in_memory(recommender, raw, tmp_path, small_parts):
    asked = [*raw, [], ["never-seen", "nor-this"]]
    users = [f"user-{number}" for number in range(len(asked))]
    whole = recommender.recommend(asked, k=5, user_ids=users)
    for name, histories in (("list", asked), ("generator", (history for history in asked))):
        written = recommender.recommend_to_parquet(
            histories, tmp_path / name / "out.parquet", k=5, user_ids=iter(users)
        )
        assert_frame_equal(pl.read_parquet(written.path), whole.frame)
        assert written.counts == whole.counts and written.rows == len(whole.frame)
        assert written.message == whole.message
        assert pq.ParquetFile(written.path).num_row_groups == 6
        assert [each.name for each in written.path.parent.iterdir()] == ["out.parquet"]


def test_numbers_continue_over_the_parts(recommender, raw, tmp_path, small_parts, catalog):
    written = recommender.recommend_to_parquet(raw, tmp_path / "out.parquet", k=5)
    table = pq.read_table(written.path)
    assert table["user_id"].to_pylist() == [row for row in range(len(raw)) for _ in range(5)]
    item = pa.string() if isinstance(catalog.item_ids[0], str) else pa.int64()
    assert table.schema.types == [pa.int64(), item, pa.float32(), pa.int32()]


def test_several_intents_keep_their_column(catalog, vectors, raw, tmp_path, small_parts):
    recommender = Recommender(LastItem(vectors, intents=2), catalog)
    written = recommender.recommend_to_parquet([*raw, []], tmp_path / "out.parquet", k=5)
    found = pl.read_parquet(written.path)
    assert_frame_equal(found, recommender.recommend([*raw, []], k=5).frame)
    assert set(found["intent"].to_list()) == {0, 1, None} and pq.ParquetFile(written.path).num_row_groups > 1


def test_a_frame(recommender, raw, tmp_path, small_parts):
    rows = [(f"user-{row}", item) for row, history in enumerate(raw) for item in history]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    written = recommender.recommend_to_parquet(frame, tmp_path / "out.parquet", k=5)
    assert_frame_equal(pl.read_parquet(written.path), recommender.recommend(frame, k=5).frame)
    assert pq.ParquetFile(written.path).num_row_groups == 6


def test_nobody(recommender, tmp_path):
    for histories in ([], pl.DataFrame({"user_id": [], "item_id": []})):
        written = recommender.recommend_to_parquet(histories, tmp_path / "out.parquet")
        assert pl.read_parquet(written.path).columns == ["user_id", "item_id", "score", "rank"] and written.rows == 0


@pytest.mark.parametrize("old", [None, b"what was there before"])
def test_nothing_half_written(recommender, raw, tmp_path, small_parts, old):
    def breaks():
        yield from raw[:10]
        raise OSError("the source went away")

    file = tmp_path / "out.parquet"
    if old:
        file.write_bytes(old)
    with pytest.raises(OSError, match="went away"):
        recommender.recommend_to_parquet(breaks(), file, k=5)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == ([old] if old else [])


def test_only_one_part_is_read_ahead(recommender, raw, tmp_path, small_parts, monkeypatch):
    taken, found = 0, []

    def source():
        nonlocal taken
        for history in raw:
            taken += 1
            yield history

    search = recommender._recommend
    monkeypatch.setattr(recommender, "_recommend", lambda *args: (found.append(taken), search(*args))[1])
    recommender.recommend_to_parquet(source(), tmp_path / "out.parquet", k=5)
    assert found == [3, 6, 9, 12, 15, 16]


@pytest.mark.parametrize("n_users", [2, 4, 15, 17])
def test_one_id_a_history(recommender, raw, tmp_path, small_parts, n_users):
    with pytest.raises(InputError, match="give one id a history"):
        recommender.recommend_to_parquet(iter(raw), tmp_path / "out.parquet", k=5, user_ids=list(range(n_users)))
    assert not list(tmp_path.iterdir())


def test_bad_targets(recommender, raw, tmp_path, small_parts):
    with pytest.raises(InputError, match="is a folder"):
        recommender.recommend_to_parquet(raw, tmp_path)
    with pytest.raises(InputError, match="changes its type"):
        recommender.recommend_to_parquet(raw, tmp_path / "out.parquet", k=5, user_ids=[1, 2, 3, *"abcdefghijklm"])
    with pytest.raises(InputError, match="flat list"):
        recommender.recommend_to_parquet(raw[0], tmp_path / "out.parquet")
