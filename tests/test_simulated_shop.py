"""A shop whose best possible answer is known: how much of it is learnt, and what is known of new users."""

import numpy as np
import polars as pl
import pytest

import recloom


def test_sasrec_reaches_five_sixths_of_the_best_possible():
    shop = recloom.simulate(n_users=4000, n_items=200, seed=0)
    data = recloom.prepare(shop.log, items=shop.items, min_user=0, min_item=0)
    numbers = {"layers": 1, "dropout": 0.2, "lr": 2e-3, "batch_size": 64, "epochs": 15}
    run = recloom.train("sasrec", data, progress=False, **numbers)
    learnt = run.evaluate().metrics()
    best = shop.oracle(k=(10,), realised=True)
    popular = recloom.train("pop", data).evaluate().metrics()
    for name in ("HR@10", "NDCG@10"):
        assert popular[name] < 0.3 * best[name]
        assert 5 / 6 * best[name] <= learnt[name] <= 1.02 * best[name]


@pytest.fixture(scope="module")
def old_and_new():
    """Prepared data of 1,500 users; the histories of 1,000 others, and what each of those did last."""
    shop = recloom.simulate(n_users=2500, n_items=100, seed=0)
    rows = shop.log.group_by("user_id", maintain_order=True).agg("item_id", "timestamp")
    data = recloom.prepare(rows[:1500].explode("item_id", "timestamp"), min_user=0, min_item=0)
    histories = rows[1500:]["item_id"].to_list()
    return data, [history[:-1] for history in histories], [history[-1] for history in histories]


def hit_rate(run, histories, last):
    """The share of new users whose last item is among ten recommended."""
    found = run.recommend(histories, k=10).frame.group_by("user_id", maintain_order=True).agg(pl.col("item_id"))
    return np.mean([item in items for item, items in zip(last, found["item_id"].to_list(), strict=True)])


@pytest.mark.parametrize(
    ("name", "epochs", "times"),
    [("bpr-mf", 15, 1.15), ("fpmc", 15, 1.5), ("caser", 8, 1.15), ("hgn", 8, 1.15), ("gru4rec+", 8, 1.5)],
)
def test_users_never_seen_get_better_than_popularity(old_and_new, name, epochs, times):
    data, histories, last = old_and_new
    numbers = {"dim": 32, "lr": 1e-2, "batch_size": 64, "epochs": epochs, "length": 20}
    found = hit_rate(recloom.train(name, data, progress=False, **numbers), histories, last)
    assert found > times * hit_rate(recloom.train("pop", data), histories, last)


@pytest.mark.parametrize("model", ["gru4rec", "caser"])
def test_mclrec_learns_over_other_encoders(old_and_new, model):
    data, histories, last = old_and_new
    numbers = {"model": model, "dim": 32, "lr": 5e-3, "dropout": 0.1, "epochs": 8, "length": 20, "windows": "whole"}
    found = hit_rate(recloom.train("mclrec", data, progress=False, **numbers), histories, last)
    assert found > 1.5 * hit_rate(recloom.train("pop", data), histories, last)
