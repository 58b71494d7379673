"""Recommendations against a search by hand."""

import logging

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

import recloom
from recloom.data.batch import history_batch
from recloom.errors import InputError
from recloom.recommend import Histories, Recommender
from recloom.recommend import exact as exact_module

from .conftest import N_ITEMS, LastItem, LastItemScores, make_catalog


def by_hand(vectors, history, k, *, intents=1, length=4, allowed=None, out=()):
    """Indices, scores and intents of one history, one item at a time."""
    asking = history[-length:][::-1]
    asking = [asking[min(intent, len(asking) - 1)] for intent in range(intents)]
    found = []
    for item in range(1, N_ITEMS + 1):
        if item in out or (allowed is not None and item not in allowed):
            continue
        scores = [float(vectors[ask] @ vectors[item]) for ask in asking]
        found.append((-max(scores), item, int(np.argmax(scores))))
    found = sorted(found)[:k]
    return [item for _, item, _ in found], [-score for score, _, _ in found], [intent for _, _, intent in found]


def ids(catalog, indices):
    return [catalog.item_ids[index - 1] for index in indices]


@pytest.mark.parametrize("kind", [LastItem, LastItemScores])
@pytest.mark.parametrize("filter_seen", [True, False])
def test_equals_a_search_by_hand(kind, filter_seen, catalog, vectors, histories, raw):
    found = Recommender(kind(vectors), catalog).recommend(raw, k=9, filter_seen=filter_seen)
    for history, items, scores in zip(histories, found.items, found.scores, strict=True):
        expected, values, _ = by_hand(vectors, history, 9, out=history if filter_seen else ())
        assert items == ids(catalog, expected)
        assert scores == pytest.approx(values, abs=1e-4)


def test_the_same_in_small_blocks(catalog, vectors, raw, monkeypatch):
    recommender = Recommender(LastItem(vectors), catalog)
    whole = recommender.recommend(raw, allow=catalog.item_ids[:30])
    monkeypatch.setattr(exact_module, "SCORES_PER_BLOCK", 3 * N_ITEMS)
    assert recommender.recommend(raw, allow=catalog.item_ids[:30]).items == whole.items
    for row, history in enumerate(raw):
        assert recommender.recommend([history], allow=catalog.item_ids[:30]).items == [whole.items[row]]


def test_whole_history_is_filtered_not_only_what_is_read(catalog, vectors):
    history = catalog.item_ids[:20].tolist()
    found = Recommender(LastItem(vectors, length=2), catalog).recommend([history], k=N_ITEMS)
    assert set(found.items[0]) == set(catalog.item_ids[20:])


def test_more_than_there_are(catalog, vectors, raw):
    recommender = Recommender(LastItem(vectors), catalog)
    found = recommender.recommend(raw, k=1000)
    for history, items in zip(raw, found.items, strict=True):
        assert set(items) == set(catalog.item_ids) - set(history)
    assert np.isfinite(found.frame["score"].to_numpy()).all()
    everything = recommender.recommend([catalog.item_ids.tolist(), raw[0]], k=3)
    assert [len(items) for items in everything.items] == [0, 3]
    assert everything.frame["user_id"].to_list() == [1, 1, 1]


def test_frame(catalog, vectors, raw):
    found = Recommender(LastItem(vectors), catalog).recommend(raw[:2], k=3, user_ids=["zoe", "abe"])
    assert found.frame.columns == ["user_id", "item_id", "score", "rank"]
    assert found.frame["user_id"].to_list() == ["zoe"] * 3 + ["abe"] * 3
    assert found.frame["item_id"].to_list() == found.items[0] + found.items[1]
    assert found.frame["rank"].to_list() == [1, 2, 3] * 2
    assert found.frame["item_id"].dtype == (pl.Int64 if catalog.item_ids.dtype == np.int64 else pl.String)
    assert type(found.items[0][0]) in (int, str)
    assert found.to_pandas().shape == (6, 4)
    assert "2 histories" in repr(found) and found.message == ""
    numbered = Recommender(LastItem(vectors), catalog).recommend(raw[:2], k=1)
    assert numbered.frame["user_id"].to_list() == [0, 1] and numbered.frame["user_id"].dtype == pl.Int64


def test_no_histories(catalog, vectors):
    found = Recommender(LastItem(vectors), catalog).recommend([])
    assert found.frame.columns == ["user_id", "item_id", "score", "rank"] and found.items == []
    assert len(found.frame) == 0


def test_titles(catalog, vectors, raw):
    found = Recommender(LastItem(vectors), catalog).recommend(raw, k=20)
    frame = found.with_titles().frame
    assert frame.drop("title").equals(found.frame)
    place = {item: index for index, item in enumerate(catalog.item_ids, 1)}
    for item, title in frame.select("item_id", "title").rows():
        assert title == (str(item) if place[item] % 5 == 0 else f"Title {place[item]}")


def test_equal_scores_keep_the_order_of_the_catalogue(vectors):
    catalog = make_catalog(list(range(1, N_ITEMS + 1)))
    vectors[3:40] = vectors[3]
    for k in (1, 5, 36, 50, N_ITEMS):
        found = Recommender(LastItem(vectors), catalog).recommend([[3], [50, 3], [50]], k=k, filter_seen=False)
        for items, scores in zip(found.items, found.scores, strict=True):
            assert items == [item for _, item in sorted(zip([-s for s in scores], items, strict=True))]
            tied = [item for item in items if 3 <= item < 40]
            assert tied == list(range(3, 3 + len(tied)))


def test_again_the_same(catalog, vectors, raw):
    first = Recommender(LastItem(vectors), catalog).recommend(raw).frame
    assert first.equals(Recommender(LastItem(vectors), catalog).recommend(raw).frame)


def test_dropout_is_off(catalog, vectors, raw):
    class Dropped(LastItem):
        def queries(self, batch):
            return torch.nn.functional.dropout(super().queries(batch), 0.9, self.training)

    method = Dropped(vectors)
    recommender = Recommender(method, catalog)
    method.train()
    assert recommender.recommend(raw).items == Recommender(LastItem(vectors), catalog).recommend(raw).items


@pytest.mark.parametrize("intents", [2, 3])
def test_the_best_of_several_intents(intents, catalog, vectors, histories, raw):
    found = Recommender(LastItem(vectors, intents=intents), catalog).recommend([*raw, []], k=6)
    frame = found.frame
    for row, history in enumerate(histories):
        items, scores, intent = by_hand(vectors, history, 6, intents=intents, out=history)
        mine = frame.filter(pl.col("user_id") == row)
        assert mine["item_id"].to_list() == ids(catalog, items)
        assert mine["score"].to_list() == pytest.approx(scores, abs=1e-4)
        assert mine["intent"].to_list() == intent
    assert frame.filter(pl.col("user_id") == len(raw))["intent"].null_count() == 6
    assert frame["intent"].max() == intents - 1


def test_unknown_items_are_ignored_and_counted(catalog, vectors, raw):
    recommender = Recommender(LastItem(vectors), catalog)
    strange = [[*raw[0], "never-seen"], ["what", *raw[1], "ever"], raw[2]]
    found = recommender.recommend(strange)
    assert found.unknown_items == 3 and found.fallbacks == 0
    assert found.items == recommender.recommend(raw[:3]).items
    assert "3 actions" in found.message


def test_fallback_to_popularity(catalog, vectors, raw, caplog):
    recommender = Recommender(LastItem(vectors), catalog)
    with caplog.at_level(logging.WARNING, "recloom"):
        found = recommender.recommend([raw[4], [], ["never-seen"]], k=N_ITEMS)
    counts = catalog.train_counts[1:-1]
    popular = [catalog.item_ids[i] for i in sorted(range(N_ITEMS), key=lambda i: (-counts[i], i))]
    assert found.items[1] == found.items[2] == popular
    assert found.scores[1] == sorted(counts.tolist(), reverse=True)
    assert found.items[0] == recommender.recommend([raw[4]], k=N_ITEMS).items[0]
    assert (found.fallbacks, found.unknown_items, found.fallback_rows.tolist()) == (2, 1, [1, 2])
    assert "2 of 3 histories" in found.message and found.message in caplog.text
    limited = recommender.recommend([[]], k=3, allow=popular[10:20], deny=popular[11:12])
    assert limited.items == [[popular[10], popular[12], popular[13]]]


@pytest.mark.parametrize("kind", [LastItem, LastItemScores])
def test_allow_and_deny(kind, catalog, vectors, histories, raw):
    recommender = Recommender(kind(vectors), catalog)
    allow, deny = list(range(50, 4, -3)), list(range(1, 30))
    for options, allowed, out in (
        ({"allow": ids(catalog, allow)}, allow, []),
        ({"deny": ids(catalog, deny)}, None, deny),
        ({"allow": ids(catalog, allow), "deny": iter(ids(catalog, deny))}, allow, deny),
    ):
        found = recommender.recommend(raw, k=12, **options)
        for history, items in zip(histories, found.items, strict=True):
            assert items == ids(catalog, by_hand(vectors, history, 12, allowed=allowed, out=[*out, *history])[0])
    assert recommender.recommend(raw, deny=catalog.item_ids).items == [[]] * len(raw)
    assert recommender.recommend(raw, allow=raw[0], deny=raw[0]).items == [[]] * len(raw)


def test_allow_and_deny_by_user(catalog, vectors, histories, raw):
    recommender = Recommender(LastItem(vectors), catalog)
    users = [f"user-{number}" for number in range(len(raw))]
    allow = {users[2]: list(range(10, 40)), users[5]: [], users[7]: [3, 30], "nobody": [1]}
    deny = {users[2]: list(range(20, 30)), users[3]: list(range(1, 50))}
    everyone = list(range(8, 50))
    external = [{user: ids(catalog, items) for user, items in lists.items()} for lists in (allow, deny)]
    for name, allowed in (("by user", None), ("both", everyone)):
        found = recommender.recommend(
            raw, k=15, user_ids=users, deny=external[1], allow=external[0] if allowed is None else ids(catalog, allowed)
        )
        for user, history, items in zip(users, histories, found.items, strict=True):
            mine = allow.get(user) if name == "by user" else allowed
            out = [*history, *deny.get(user, [])]
            assert items == ids(catalog, by_hand(vectors, history, 15, allowed=mine, out=out)[0])


def test_lists_of_no_users_restrict_nobody(catalog, vectors, raw):
    recommender = Recommender(LastItem(vectors), catalog)
    plain = recommender.recommend(raw, 3).frame
    assert recommender.recommend(raw, 3, allow={}, deny={}).frame.equals(plain)


def test_unknown_ids_in_lists(catalog, vectors, raw):
    recommender = Recommender(LastItem(vectors), catalog)
    found = recommender.recommend(raw, k=2, allow=[*raw[6], "nonsense"], deny=["rubbish", "waste"])
    assert (found.counts.unknown_allow, found.counts.unknown_deny) == (1, 2)
    assert "1 ids of allow" in found.message and "2 ids of deny" in found.message
    with pytest.raises(InputError, match=r"none of its 2 ids.*'nonsense'"):
        recommender.recommend(raw, allow=["nonsense", "more"])
    with pytest.raises(InputError, match="none of its 1 ids"):
        recommender.recommend(raw, allow={0: ["nonsense"]})


def test_encoded_histories(catalog, vectors, histories, raw):
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])])
    given = Histories(np.arange(len(raw)) + 7, np.concatenate(histories).astype(np.int32), offsets)
    recommender = Recommender(LastItem(vectors), catalog)
    found = recommender.recommend(given)
    assert found.items == recommender.recommend(raw).items
    assert found.frame["user_id"].unique().to_list() == list(range(7, 7 + len(raw)))


def test_the_method_sees_the_latest_items(catalog, vectors, histories, raw):
    seen = []

    class Watched(LastItem):
        def queries(self, batch):
            seen.append(batch)
            return super().queries(batch)

    recommender = Recommender(Watched(vectors), catalog)
    seen.clear()
    recommender.recommend(raw[9:10])
    expected = history_batch([np.array(histories[9])], 4)
    assert torch.equal(seen[0].items, expected.items) and torch.equal(seen[0].users, expected.users)


def test_scores_that_are_not_finite(catalog, vectors, raw):
    for bad in (float("nan"), float("inf")):
        broken = vectors.clone()
        broken[5, 2] = bad
        with pytest.raises(InputError, match="LastItem: its catalogue"):
            Recommender(LastItem(broken), catalog)
        with pytest.raises(InputError, match="LastItemScores"):
            Recommender(LastItemScores(broken), catalog).recommend(raw)

    class Broken(LastItem):
        def queries(self, batch):
            return super().queries(batch) * torch.where(batch.lengths > 3, torch.nan, 1.0)[:, None, None]

    recommender = Recommender(Broken(vectors), catalog)
    assert recommender.recommend(raw[:2]).items
    with pytest.raises(InputError, match="Broken: its queries"):
        recommender.recommend(raw)
    with pytest.raises(InputError, match="Huge: its queries"):

        class Huge(LastItem):
            def queries(self, batch):
                return super().queries(batch) * 1e37

        Recommender(Huge(vectors), catalog).recommend(raw)


def test_another_catalog_is_refused(catalog, vectors):
    with pytest.raises(InputError, match="built for 56 items and the catalog holds 57"):
        Recommender(LastItem(vectors[1:]), catalog)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k=0"),
        ({"k": 2.5}, "k=2.5"),
        ({"k": True}, "k=True"),
        ({"user_ids": ["a"]}, "user_ids has 1 ids for 16 histories"),
        ({"user_ids": "abc"}, "user_ids is one str"),
        ({"user_ids": ["a", *range(15)]}, "mixes text"),
        ({"allow": "abc"}, r"write \['abc'\]"),
        ({"deny": 5}, r"write \[5\]"),
        ({"deny": {"a": "abc"}}, r"write \['abc'\]"),
        ({"allow": []}, "allow is empty"),
        ({"deny": {"0": ["x"]}}, "deny is a dict of users such as '0', but the users are such as 0"),
    ],
)
def test_bad_arguments(options, message, catalog, vectors, raw):
    with pytest.raises(InputError, match=message):
        Recommender(LastItem(vectors), catalog).recommend(raw, **options)


def test_odd_columns_of_a_frame_of_histories(cycle):
    run = recloom.train("pop", cycle)
    mixed = pd.DataFrame({"user_id": [1, 1, "b"], "item_id": [100, "101", 102]})
    assert run.recommend(mixed, k=2).counts.unknown_items == 0
    large = pl.DataFrame({"user_id": [1, 1], "item_id": [1e300, 100.0]})
    assert run.recommend(large, k=2).counts.unknown_items == 1
    with pytest.raises(InputError, match=r"column 'item_id' holds List.*give one id a row"):
        run.recommend(pl.DataFrame({"user_id": [1], "item_id": [[100, 101]]}), k=2)


def test_methods_that_read_no_histories_say_that_new_people_get_one_list(cycle, tmp_path):
    run = recloom.train("fm", cycle, progress=False, dim=8, epochs=1)
    answer = run.recommend([[100, 101], [105], []], 3)
    assert answer.items[0] != [] and answer.counts.unread == 2
    assert "2 of 3 histories are of people who were not trained on" in answer.message
    known = run.recommend(users=[0, 1], k=3)
    assert known.counts.unread == 0 and known.message == ""
    parts = run.recommender().recommend_to_parquet(([item] for item in (100, 101, 102)), tmp_path / "all.parquet", 3)
    assert parts.counts.unread == 3
    assert recloom.train("fpmc", cycle, progress=False, dim=8, epochs=1).recommend([[100]], 3).counts.unread == 0
