"""A shop whose best possible answer is known: how much of it is learnt, and what is known of new users."""

import numpy as np
import polars as pl
import pytest
import torch

import recloom
from recloom.data.module import query_batches


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


def test_popularity_is_worth_little_more_than_chance_among_popular_items():
    shop = recloom.simulate(n_users=2000, n_items=1500, seed=0)
    run = recloom.train("pop", recloom.prepare(shop.log, min_user=0, min_item=0))
    among_any, among_popular = (run.evaluate(protocol=name).metrics()["HR@10"] for name in ("sample-99", "pop-100"))
    chance = 10 / 101
    assert among_any > 3 * chance and among_popular < 1.3 * chance


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


@pytest.fixture(scope="module")
def learnt(old_and_new):
    """The run of a method, trained once, and that of popularity."""
    runs = {"pop": recloom.train("pop", old_and_new[0])}

    def train(name, epochs):
        if name not in runs:
            numbers = {"dim": 32, "lr": 1e-2, "batch_size": 64, "epochs": epochs, "length": 20}
            runs[name] = recloom.train(name, old_and_new[0], progress=False, **numbers)
        return runs[name], runs["pop"]

    return train


@pytest.mark.parametrize(
    ("name", "epochs", "times"),
    [("bpr-mf", 15, 1.15), ("fpmc", 15, 1.5), ("caser", 8, 1.15), ("hgn", 8, 1.15), ("gru4rec+", 8, 1.5)],
)
def test_users_never_seen_get_better_than_popularity(old_and_new, learnt, name, epochs, times):
    _, histories, last = old_and_new
    run, popularity = learnt(name, epochs)
    assert hit_rate(run, histories, last) > times * hit_rate(popularity, histories, last)


@pytest.mark.parametrize(
    ("name", "epochs", "times"),
    [("bpr-mf", 15, 1.4), ("ncf", 8, 1.4), ("fpmc", 15, 2), ("caser", 8, 1.7), ("hgn", 8, 1.7)],
)
def test_users_who_were_trained_get_better_than_popularity(learnt, name, epochs, times):
    run, popularity = (run.evaluate().metrics()["HR@10"] for run in learnt(name, epochs))
    assert run > times * popularity


@pytest.mark.parametrize("model", ["gru4rec", "caser"])
def test_mclrec_learns_over_other_encoders(old_and_new, model):
    data, histories, last = old_and_new
    numbers = {"model": model, "dim": 32, "lr": 5e-3, "dropout": 0.1, "epochs": 8, "length": 20, "windows": "whole"}
    found = hit_rate(recloom.train("mclrec", data, progress=False, **numbers), histories, last)
    assert found > 1.5 * hit_rate(recloom.train("pop", data), histories, last)


def normalised_mutual_information(one, two):
    """Of two labellings, `2 I(a; b) / (H(a) + H(b))`: 1 where each tells the other, 0 where it tells nothing."""
    joint = np.zeros((one.max() + 1, two.max() + 1))
    np.add.at(joint, (one, two), 1 / len(one))
    entropy = [-(p[p > 0] * np.log(p[p > 0])).sum() for p in (joint.sum(1), joint.sum(0), joint)]
    return (entropy[0] + entropy[1] - entropy[2]) * 2 / (entropy[0] + entropy[1])


def intent_of_items(method, data):
    """The intent that the states at each item belong to more than states at other items do."""
    shares = np.zeros((data.n_items, len(method.intents.prototypes)))
    with torch.no_grad():
        for _, batch in query_batches(data, "test", method.length):
            clusters = method.intents.clusters(method.backbone(batch.items))[batch.valid]
            np.add.at(shares, batch.items[batch.valid].numpy() - 1, clusters.numpy())
    shares /= shares.sum(1, keepdims=True)
    return (shares - shares.mean(0)).argmax(1)


@pytest.mark.slow
def test_dssrec_finds_the_planted_intents():
    """Training without the future's loss finds them too for some seeds (.15, .29, .51), so nothing is said of it."""
    shop = recloom.simulate(n_users=1000, n_items=80, intents=4, noise=0.05, taste=0.5, persistence=0.9, seed=0)
    data = recloom.prepare(shop.log, min_user=0, min_item=0)
    planted = shop.intents[np.array(data.catalog.item_ids, dtype=int) - 1]
    numbers = {"dim": 32, "length": 20, "intents": 4}
    run = recloom.train("dssrec", data, progress=False, **numbers, lr=3e-3, epochs=50, patience=50)
    torch.manual_seed(1)
    untrained = recloom.methods.build("dssrec", data.catalog, **numbers)[0].method.eval()
    learnt, random = (
        normalised_mutual_information(intent_of_items(method, data), planted) for method in (run.method, untrained)
    )
    assert learnt > 0.5 > 0.2 > random
