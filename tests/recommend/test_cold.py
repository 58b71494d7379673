"""Items that training never saw: left out unless a method knows them by their attributes."""

import numpy as np
import polars as pl
import pytest

import recloom
from recloom.errors import InputError

GROUPS, EACH, NEW = 4, 8, 2


@pytest.fixture(scope="module")
def shop():
    """Users stay in one group of items; each group has items that occur only as the last, held-out action."""
    draw, rows = np.random.default_rng(0), []
    for user in range(240):
        group = user % GROUPS
        old = group * 100 + draw.choice(EACH, 6, replace=False)
        new = group * 100 + 50 + draw.integers(NEW)
        rows += [(user, int(item), time) for time, item in enumerate([*old, new])]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    ids = sorted({item for _, item, _ in rows})
    items = pl.DataFrame({"item_id": ids, "attributes": [[f"group {i // 100}", f"shape {i % 3}"] for i in ids]})
    return recloom.prepare(log, items=items, min_user=0, min_item=0)


@pytest.fixture(scope="module")
def by_attributes(shop):
    numbers = {
        "dim": 16,
        "length": 10,
        "dropout": 0.1,
        "id_dropout": 0.3,
        "scored_by": "items",
        "lr": 1e-2,
        "epochs": 15,
    }
    return recloom.train("sasrec-f", shop, progress=False, **numbers)


def cold_ids():
    return {group * 100 + 50 + new for group in range(GROUPS) for new in range(NEW)}


def test_the_shop_has_the_cold_items_it_should(shop):
    counts = shop.catalog.train_counts[1:-1]
    assert set(shop.catalog.item_ids[counts == 0].tolist()) == cold_ids()


def test_cold_items_are_left_out_unless_asked_for(by_attributes):
    every = by_attributes.recommend([[0, 1, 2]], k=100).frame["item_id"].to_list()
    assert not set(every) & cold_ids() and len(every) == GROUPS * EACH - 3
    with_cold = by_attributes.recommend([[0, 1, 2]], k=100, cold=True).frame["item_id"].to_list()
    assert set(with_cold) - set(every) == cold_ids()
    allowed = by_attributes.recommend([[0, 1, 2]], k=10, allow=[50, 51, 4]).frame["item_id"].to_list()
    assert allowed == [4]
    with pytest.raises(InputError, match=r"none of its 2 items has an action in training.*cold=True"):
        by_attributes.recommend([[0]], k=10, allow=[50, 51])
    assert set(by_attributes.recommend([[0]], k=10, allow=[50, 51], cold=True).frame["item_id"].to_list()) == {50, 51}


def test_cold_items_of_the_right_group_come_first(by_attributes):
    histories = [[group * 100 + i for i in (1, 3, 5)] for group in range(GROUPS)]
    found = by_attributes.recommend(histories, k=NEW, allow=sorted(cold_ids()), cold=True).frame
    right = (found["item_id"] // 100 == found["user_id"]).mean()
    assert right >= 0.75, "by chance it would be a quarter"


def test_a_method_that_knows_ids_alone_refuses(shop):
    run = recloom.train("sasrec", shop, progress=False, dim=8, length=10, epochs=1)
    with pytest.raises(InputError, match=r"sasrec does not score items by their attributes.*scored_by='items'"):
        run.recommend([[0, 1]], cold=True)


def test_batch_output_takes_the_same_option(by_attributes, tmp_path):
    written = by_attributes.recommender().recommend_to_parquet([[0, 1, 2]], tmp_path / "a.parquet", 100, cold=True)
    plain = by_attributes.recommender().recommend_to_parquet([[0, 1, 2]], tmp_path / "b.parquet", 100)
    assert written.rows - plain.rows == GROUPS * NEW
