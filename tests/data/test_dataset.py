"""Prepared data: counted, saved whole, opened again memory-mapped, and refused when damaged."""

import json
import os

import numpy as np
import polars as pl
import pytest

import recloom
from recloom.data.dataset import Dataset, prepare
from recloom.errors import InputError


def shop(rows=900, seed=0):
    draw = np.random.default_rng(seed)
    log = pl.DataFrame(
        {
            "user_id": [f"u{x}" for x in draw.integers(0, 60, rows)],
            "item_id": draw.integers(0, 40, rows) * 3,
            "timestamp": draw.integers(1_700_000_000, 1_710_000_000, rows),
        }
    )
    items = pl.DataFrame(
        {
            "item_id": np.arange(50) * 3,
            "title": [f"T{x}" for x in range(50)],
            "genres": [[f"g{x % 7}"] for x in range(50)],
        }
    )
    return log, items


@pytest.fixture(scope="module")
def data():
    log, items = shop()
    return prepare(log, items=items)


def same(one, two):
    for name in ("items", "offsets", "times"):
        np.testing.assert_array_equal(getattr(one.sequences, name), getattr(two.sequences, name))
    for name in ("item_ids", "train_counts", "all_counts", "attribute_offsets", "attribute_values"):
        np.testing.assert_array_equal(getattr(one.catalog, name), getattr(two.catalog, name))
    for part in ("valid", "test"):
        for name in ("users", "start", "stop", "target_stop"):
            np.testing.assert_array_equal(
                getattr(getattr(one.split, part), name), getattr(getattr(two.split, part), name)
            )
    np.testing.assert_array_equal(one.split.train_stop, two.split.train_stop)
    assert one.user_ids.tolist() == two.user_ids.tolist() and one.user_ids.dtype == two.user_ids.dtype
    assert (one.split.name, one.split.options, one.split.without_target) == (
        two.split.name, two.split.options, two.split.without_target,
    )  # fmt: skip
    assert one.catalog.titles == two.catalog.titles and one.report == two.report
    assert one.fingerprint == two.fingerprint and one.describe() == two.describe()


def test_counts_of_the_training_part_and_of_all(data):
    items, offsets = data.sequences.items, data.sequences.offsets
    train = [x for a, b in zip(offsets[:-1], data.split.train_stop, strict=True) for x in items[a:b]]
    assert data.catalog.train_counts.tolist() == np.bincount(train, minlength=data.n_items + 2).tolist()
    assert data.catalog.all_counts.tolist() == np.bincount(items, minlength=data.n_items + 2).tolist()
    assert items.min() == 1 and items.max() == data.n_items and items.dtype == np.int32
    assert data.describe()["train_actions"] == len(train) == len(items) - 2 * data.n_users


def test_users_and_items_are_numbered_by_their_sorted_ids(data):
    log, _ = shop()
    rows = log.filter(user_id="u7").sort("timestamp", maintain_order=True)
    user = data.user_index("u7")
    begin, end = data.sequences.offsets[user : user + 2]
    assert data.catalog.decode(data.sequences.items[begin:end]) == rows["item_id"].to_list()
    assert data.user_ids.tolist() == sorted(data.user_ids) and (np.diff(data.catalog.item_ids) > 0).all()
    assert data.catalog.title(1) == "T0" and data.catalog.attributes_of(2) == ["g1"]
    assert data.report["items"]["not_in_the_prepared_log"] == 10
    with pytest.raises(InputError, match="'nobody' is not in the data"):
        data.user_index("nobody")


@pytest.mark.parametrize(
    "options", [{}, {"split": "time"}, {"split": "time", "valid_at": "2024-01-10", "test_at": 0.9}]
)
def test_saved_and_opened_again(tmp_path, options):
    log, items = shop()
    one = prepare(log, items=items, out=tmp_path / "data", **options)
    two = Dataset.load(tmp_path / "data")
    same(one, two)
    assert one.path == two.path == tmp_path / "data"
    assert isinstance(two.sequences.items, np.memmap) and isinstance(two.sequences.times, np.memmap)
    files = sorted(str(x.relative_to(tmp_path)) for x in tmp_path.rglob("*") if x.is_file())
    assert files == [
        "data/catalog.json", "data/catalog.parquet", "data/data.json", "data/sequences/items.npy",
        "data/sequences/offsets.npy", "data/sequences/times.npy", "data/users.parquet",
    ]  # fmt: skip


def test_data_without_times_are_saved_too(tmp_path):
    log, _ = shop()
    one = prepare(log.sort("timestamp"), time=None, out=tmp_path / "data")
    two = Dataset.load(tmp_path / "data")
    assert two.sequences.times is None and two.fingerprint == one.fingerprint
    assert not (tmp_path / "data" / "sequences" / "times.npy").exists()
    assert two.with_split("leave-one-out").fingerprint == one.fingerprint


def test_the_fingerprint_follows_the_data(data, tmp_path):
    log, items = shop()
    assert (
        prepare(log.sample(fraction=1, shuffle=True, seed=1).sort("timestamp"), items=items).fingerprint
        == data.fingerprint
    )
    log.write_csv(tmp_path / "log.csv")
    assert prepare(tmp_path / "log.csv", items=items).fingerprint == data.fingerprint
    others = [
        prepare(log, items=items, min_item=22),
        prepare(log),
        prepare(log, items=items.with_columns(genres=pl.col("genres").reverse())),
        prepare(log.with_columns(pl.col("item_id") + 1), items=items.with_columns(pl.col("item_id") + 1)),
        prepare(log.with_columns(-pl.col("timestamp")), items=items),
        data.with_split("time"),
        data.with_split("time", valid_at=0.7),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 8


def test_another_split_recounts_and_belongs_to_no_folder(data):
    other = data.with_split("time", valid_at=0.5, test_at=0.75)
    assert other.path is None and other.split.name == "time"
    assert other.catalog.train_counts.sum() == (data.sequences.times < other.split.options["valid_cut"]).sum()
    same(other.with_split("leave-one-out"), data)
    with pytest.raises(InputError, match="'random' is not known"):
        data.with_split("random")
    with pytest.raises(InputError, match="does not take test_at"):
        data.with_split("leave-one-out", test_at=0.5)


def test_describe_counts_repeats_and_ties():
    frame = pl.DataFrame(
        {"user_id": [1, 1, 1, 1, 2, 2, 2], "item_id": [5, 5, 6, 5, 6, 5, 7], "timestamp": [1, 1, 2, 3, 1, 2, 3]}
    )
    facts = prepare(frame, min_user=0, min_item=0).describe()
    assert facts["repeats"] == {"actions": 2, "users": 1} and facts["ties"] == 1
    assert (facts["users"], facts["items"], facts["actions"], facts["max_length"]) == (2, 3, 7, 4)
    assert facts["mean_length"] == 3.5 and facts["sparsity"] == pytest.approx(1 - 5 / 6)
    json.dumps(facts)


# --- saving


def test_saving_replaces_older_data_only(tmp_path, data):
    log, _ = shop(seed=1)
    target = tmp_path / "data"
    data.save(target)
    other = prepare(log, out=target)
    assert Dataset.load(target).fingerprint == other.fingerprint != data.fingerprint
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for folder in (tmp_path / "mine", tmp_path):
        with pytest.raises(InputError, match="holds other files"):
            prepare(log, out=folder)
    with pytest.raises(InputError, match="is a file"):
        prepare(log, out=tmp_path / "mine" / "thesis.txt")
    (target / "notes.txt").write_text("beside the data")
    with pytest.raises(InputError, match=r"holds other files \(notes.txt\)"):
        prepare(log, out=target)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "data.json").write_text('{"mine": 1}')
    with pytest.raises(InputError, match=r"holds other files \(data.json\)"):
        prepare(log, out=tmp_path / "theirs")
    assert (tmp_path / "theirs" / "data.json").read_text() == '{"mine": 1}'
    assert (target / "notes.txt").read_text() == "beside the data"
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "mine", "theirs"]


def test_data_behind_a_link_are_replaced_where_they_lie(tmp_path, data):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk", target_is_directory=True)
    for _ in range(2):
        data.save(tmp_path / "data")
    assert (tmp_path / "data").is_symlink() and Dataset.load(tmp_path / "disk").fingerprint == data.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "disk"]


def test_what_a_failed_exchange_leaves_is_the_old_folder(tmp_path, data, monkeypatch):
    data.save(tmp_path / "data")
    replace = os.replace

    def failing(source, target):
        if str(target).endswith("data") and not str(source).endswith("-old"):
            raise OSError("disk full")
        replace(source, target)

    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(OSError, match="disk full"):
        data.save(tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert Dataset.load(tmp_path / "data").fingerprint == data.fingerprint


def test_cuts_in_time_without_a_split_by_time_are_refused():
    log, _ = shop(seed=1)
    with pytest.raises(InputError, match="valid_at cut by time, but split='leave-one-out'"):
        prepare(log, valid_at=0.5)


def test_numbers_of_numpy_are_kept_as_numbers(tmp_path):
    log, _ = shop(seed=1)
    times = log["timestamp"].sort().to_numpy()
    cuts = {"valid_at": times[len(times) // 2], "test_at": times[-len(times) // 8]}
    saved = prepare(log, min_user=np.int64(2), split="time", out=tmp_path / "data", **cuts)
    assert Dataset.load(tmp_path / "data").fingerprint == saved.fingerprint


def test_ids_beyond_64_bits_are_found_again(tmp_path):
    ids = np.array([2**64 - 5, 2**63 + 7, 3, 4], dtype=np.uint64)
    log = pl.DataFrame(
        {"user_id": np.repeat(np.arange(20), 4), "item_id": np.tile(ids, 20), "timestamp": np.arange(80)}
    )
    data = prepare(log, min_user=0, min_item=0, out=tmp_path / "data")
    assert sorted(data.catalog.encode(ids.tolist()).tolist()) == sorted(data.catalog.encode(ids)) == [1, 2, 3, 4]
    found = recloom.train("pop", data).recommend(log.filter(pl.col("user_id") < 2), k=4)
    assert found.counts.unknown_items == 0 and found.counts.users == 2


def test_data_opened_from_a_folder_may_be_saved_over_it(tmp_path, data):
    data.save(tmp_path / "data")
    opened = Dataset.load(tmp_path / "data")
    opened.with_split("time").save(tmp_path / "data")
    assert Dataset.load(tmp_path / "data").split.name == "time"


def test_nothing_half_written_stays(tmp_path, data, monkeypatch):
    data.save(tmp_path / "data")

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(type(data.catalog), "save", fail)
    with pytest.raises(OSError, match="disk full"):
        prepare(shop(seed=1)[0], out=tmp_path / "data")
    monkeypatch.undo()
    assert Dataset.load(tmp_path / "data").fingerprint == data.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def edited(name, change):
    def damage(folder):
        facts = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(change(facts)))

    return damage


def replaced(name, change):
    def damage(folder):
        file = folder / "sequences" / name
        np.save(file, change(np.load(file)))

    return damage


def truncated(name):
    def damage(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def swapped(array):
    array[[0, 1]] = array[[1, 0]]
    return array


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "data.json").unlink(), r"is no prepared data: it has no data\.json"),
        (lambda f: (f / "data.json").write_text("{"), r"data\.json is damaged"),
        (edited("data.json", lambda x: {**x, "format": 2}), r"data\.json: format 2"),
        (
            edited("data.json", lambda x: {k: v for k, v in x.items() if k != "counts"}),
            r"data\.json is damaged.*counts",
        ),
        (edited("data.json", lambda x: {**x, "split": {"name": "time", "options": {}}}), "fingerprint"),
        (edited("data.json", lambda x: {**x, "split": 3}), r"data\.json is damaged"),
        (edited("data.json", lambda x: {**x, "fingerprint": "0"}), "fingerprint"),
        (lambda f: (f / "sequences" / "items.npy").unlink(), r"items\.npy is missing"),
        (truncated("sequences/items.npy"), r"items\.npy is damaged"),
        (lambda f: (f / "sequences" / "offsets.npy").write_bytes(b""), r"offsets\.npy is damaged"),
        (replaced("items.npy", lambda x: x[:-1]), r"items\.npy holds int32"),
        (replaced("items.npy", lambda x: x.astype(np.int64)), r"items\.npy holds int64"),
        (replaced("items.npy", swapped), "fingerprint"),
        (replaced("offsets.npy", lambda x: x[::-1].copy()), r"offsets\.npy is damaged"),
        (truncated("users.parquet"), r"users\.parquet is damaged"),
        (
            lambda f: pl.DataFrame({"user_id": ["a"]}).write_parquet(f / "users.parquet"),
            r"users\.parquet holds 1 users",
        ),
        (truncated("catalog.parquet"), r"catalog\.parquet is damaged"),
        (lambda f: (f / "catalog.json").unlink(), r"no catalog\.json"),
    ],
)
def test_a_damaged_folder_names_the_file(tmp_path, data, damage, message):
    data.save(tmp_path / "data")
    damage(tmp_path / "data")
    with pytest.raises(InputError, match=message):
        Dataset.load(tmp_path / "data")


def test_what_is_no_prepared_data_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        Dataset.load(tmp_path / "absent")
    with pytest.raises(InputError, match="is no prepared data"):
        Dataset.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "random"}, "leave-one-out, time"),
        ({"attributes": ["brand"]}, "items="),
        ({"title": "name"}, "items="),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        prepare(shop()[0], **options)


# --- the published data sets


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("beauty", {"users": 22363, "items": 12101, "actions": 198502, "mean_length": 8.88, "max_length": 204}),
        ("sports", {"users": 35598, "items": 18357, "actions": 296337}),
        ("yelp", {"users": 30431, "items": 20033, "repeats": {"actions": 11830, "users": 7102}}),
        ("lastfm", {"users": 1090, "items": 3646, "actions": 52551, "repeats": {"actions": 0, "users": 0}}),
        ("ml-1m", {"users": 6040, "items": 3416, "actions": 999611, "titles": True}),
        ("ml-100k", {"users": 943, "items": 1349, "actions": 99287, "titles": True}),
    ],
)
def test_published_data_have_their_published_counts(real_data, name, expected):
    if not (real_data / name).is_dir():
        pytest.skip(f"RECLOOM_DATA holds no {name}")
    data = prepare(real_data / name / "interactions.parquet", items=real_data / name / "items.parquet")
    facts = data.describe()
    assert {key: facts[key] for key in expected} == expected
    attributes = {"beauty": (637, 3.72), "sports": (2277, 5.8), "yelp": (1001, 4.84), "lastfm": (388, 12.45)}
    if name in attributes:
        assert (facts["attributes"]["distinct"], facts["attributes"]["mean_per_item"]) == attributes[name]


def test_ties_of_a_raw_log(real_data):
    file = real_data / "ml-100k" / "interactions.parquet"
    if not file.is_file():
        pytest.skip("RECLOOM_DATA holds no ml-100k")
    data = prepare(file, min_user=0, min_item=0)
    assert data.describe()["ties"] == 50561 and data.n_items == 1682
