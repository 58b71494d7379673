"""A shop whose best possible answer is known: how much of it is learnt."""

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
