"""A shop whose best possible answer is known: how much of it is learnt."""

import recloom


def test_sasrec_reaches_nine_tenths_of_the_best_possible():
    shop = recloom.simulate(seed=0)
    data = recloom.prepare(shop.log, items=shop.items, min_user=0, min_item=0)
    numbers = {"dim": 64, "dropout": 0.3, "lr": 3e-3, "batch_size": 64, "epochs": 30, "patience": 6}
    run = recloom.train("sasrec", data, progress=False, **numbers)
    learnt = run.evaluate().metrics()
    best = shop.oracle(k=(10,), realised=True)
    popular = recloom.train("pop", data).evaluate().metrics()
    print({name: (learnt[name], best[name], popular[name]) for name in ("HR@10", "NDCG@10")})
    for name in ("HR@10", "NDCG@10"):
        assert popular[name] < 0.3 * best[name]
        assert 0.9 * best[name] <= learnt[name] <= 1.05 * best[name]
