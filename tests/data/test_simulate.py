"""The simulated shop and its oracle."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Literal

import numpy as np
import polars as pl
import pytest

import recloom.data.shop as shop_module
from recloom.data.shop import Process, Shop
from recloom.data.simulate import simulate
from recloom.errors import InputError


@pytest.fixture(scope="module")
def shop() -> Shop:
    return simulate()


def training_actions(shop: Shop) -> np.ndarray:
    """True for every action but each user's last."""
    return np.arange(shop.histories.shape[1]) < shop.lengths[:, None] - 1


def hit_rate(shop: Shop, scores: np.ndarray, k: int) -> float:
    """HR@k of scores `(n_users, n_items)` with each user's earlier items masked; ties count against the target."""
    scores = np.array(scores, dtype=float)
    users, steps = np.nonzero(training_actions(shop))
    scores[users, shop.histories[users, steps]] = -np.inf
    target = scores[np.arange(len(scores)), shop.targets]
    return float(((scores >= target[:, None]).sum(axis=1) <= k).mean())


def emission(process: Process, kind: int, intent: int, previous: int, seen: list[int]) -> np.ndarray:
    """The next-item distribution written out item by item, from the docstring of `recloom.data.shop`."""
    weights = np.zeros(process.n_items)
    for item in range(process.n_items):
        if item in seen and not process.repeats:
            continue
        f = process.follow if previous >= 0 and process.item_intents[previous] == intent else 0.0
        follows = 0.0
        if previous >= 0:
            for successor, weight in zip(
                process.successors[previous], process.successor_weights[previous], strict=True
            ):
                follows += weight * (successor == item)
        own = (1 - f) * process.taste[kind, intent, item] + f * follows
        weights[item] = process.noise * process.popularity[item] + (1 - process.noise) * own
    return weights / weights.sum()


def joint(process: Process, sequence: tuple[int, ...]) -> np.ndarray:
    """P(sequence, type, last intent) by enumeration of every path of intents: `(types, intents)`."""
    types, intents = process.mixture.shape
    total = np.zeros((types, intents))
    for kind in range(types):
        for path in product(range(intents), repeat=len(sequence)):
            chance = 1 / types
            for step, (item, intent) in enumerate(zip(sequence, path, strict=True)):
                drawn = process.mixture[kind, intent]
                if step:
                    drawn = (1 - process.persistence) * drawn + process.persistence * (path[step - 1] == intent)
                previous = sequence[step - 1] if step else -1
                chance *= drawn * emission(process, kind, intent, previous, list(sequence[:step]))[item]
            total[kind, path[-1]] += chance
    return total


def test_one_seed_makes_one_shop() -> None:
    one, same, other = simulate(100, 40, seed=3), simulate(100, 40, seed=3), simulate(100, 40, seed=4)
    assert one.log.equals(same.log) and one.items.equals(same.items) and one.users.equals(same.users)
    assert one.oracle() == same.oracle()
    assert not one.log.equals(other.log)


def test_the_log_is_the_histories_in_time_order(shop: Shop) -> None:
    assert shop.log["timestamp"].is_sorted()
    assert shop.log.select("user_id", "timestamp").is_duplicated().sum() == 0
    assert shop.log["user_id"].n_unique() == 2000 and shop.log["item_id"].n_unique() == 400
    assert shop.lengths.min() == 5 and shop.lengths.max() == 60 and abs(shop.lengths.mean() - 20) < 1
    assert shop.users["actions"].to_list() == shop.lengths.tolist()
    for user in (1, 700, 2000):
        items = shop.log.filter(pl.col("user_id") == user)["item_id"].to_numpy()
        np.testing.assert_array_equal(items, shop.histories[user - 1, : len(items)] + 1)
        assert shop.targets[user - 1] + 1 == items[-1]


def test_no_user_takes_an_item_twice_unless_repeats_are_allowed(shop: Shop) -> None:
    assert not shop.log.select("user_id", "item_id").is_duplicated().any()
    assert simulate(200, 60, repeats=True).log.select("user_id", "item_id").is_duplicated().any()


@pytest.mark.parametrize("repeats", [False, True])
def test_the_filter_agrees_with_enumeration(repeats: bool) -> None:
    drawn = simulate(
        4, 3, intents=2, types=2, noise=0.2, follow=0.6, persistence=0.7, lengths=(3, 3, 3), repeats=repeats
    )
    sequences = [s for s in product(range(3), repeat=3) if repeats or len(set(s)) == 3]
    tiny = replace(
        drawn,
        histories=np.array(sequences),
        types=np.zeros(len(sequences), int),
        hidden=np.zeros((len(sequences), 3), int),
    )
    process = tiny.process
    assert sum(joint(process, s).sum() for s in sequences) == pytest.approx(1)
    posterior, chances = tiny.posterior(), tiny.next_items()
    for row, sequence in enumerate(sequences):
        before = joint(process, sequence[:2])
        np.testing.assert_allclose(posterior[row], before / before.sum(), rtol=1e-10)
        for item in range(3):
            expected = (
                joint(process, (*sequence[:2], item)).sum() / before.sum() if repeats or item not in sequence[:2] else 0
            )
            assert chances[row, item] == pytest.approx(expected, rel=1e-10, abs=1e-15)


def test_knowing_types_and_intents_is_the_emission_one_step_on() -> None:
    drawn = simulate(30, 12, intents=2, types=2, lengths=(3, 4, 6), seed=5)
    chances = drawn.next_items(knows="latent")
    process = drawn.process
    for user in range(30):
        before = drawn.histories[user, : drawn.lengths[user] - 1].tolist()
        kind, last = drawn.types[user], drawn.hidden[user, len(before) - 1]
        ahead = (1 - process.persistence) * process.mixture[kind] + process.persistence * (np.arange(2) == last)
        expected = sum(ahead[z] * emission(process, kind, z, before[-1], before) for z in range(2))
        np.testing.assert_allclose(chances[user], expected, rtol=1e-10)


@pytest.mark.parametrize("knows", ["history", "latent"])
@pytest.mark.parametrize("repeats", [False, True])
def test_expected_and_realised_scores_agree(knows: Literal["history", "latent"], repeats: bool) -> None:
    hits, chances, variance = 0.0, 0.0, 0.0
    for seed in range(6):
        drawn = simulate(1500, 150, repeats=repeats, seed=seed)
        chance = np.sort(drawn.next_items(knows), axis=1)[:, -10:].sum(axis=1)
        assert drawn.oracle(10, knows=knows)["HR@10"] == pytest.approx(chance.mean())
        hits += drawn.oracle(10, knows=knows, realised=True)["HR@10"] * 1500
        chances, variance = chances + chance.sum(), variance + (chance * (1 - chance)).sum()
    assert abs(hits - chances) < 4 * np.sqrt(variance)


def test_the_oracle_scores_its_own_ranking(shop: Shop) -> None:
    chances = shop.next_items()
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    target = chances[np.arange(2000), shop.targets]
    rank = (chances >= target[:, None]).sum(axis=1)
    scores = shop.oracle(k=(5, 10), realised=True)
    assert set(scores) == {"HR@5", "NDCG@5", "HR@10", "NDCG@10"}
    assert scores["HR@10"] == pytest.approx((rank <= 10).mean())
    assert scores["NDCG@5"] == pytest.approx(np.where(rank <= 5, 1 / np.log2(rank + 1), 0).mean())


def test_the_oracle_is_far_above_popularity_and_markov_counts(shop: Shop) -> None:
    known = training_actions(shop)
    popularity = np.bincount(shop.histories[known], minlength=400) / known.sum()
    counts = np.zeros((400, 400))
    np.add.at(counts, (shop.histories[:, :-1][known[:, 1:]], shop.histories[:, 1:][known[:, 1:]]), 1)
    last = shop.histories[np.arange(2000), shop.lengths - 2]
    best = shop.oracle(10, realised=True)["HR@10"]
    by_popularity = hit_rate(shop, np.tile(popularity, (2000, 1)), 10)
    by_markov = hit_rate(shop, counts[last] + popularity, 10)
    assert 0.05 < by_popularity < 0.2 and by_popularity + 0.2 < by_markov < best - 0.07
    assert hit_rate(shop, shop.next_items(), 10) == pytest.approx(best)
    assert best < hit_rate(shop, shop.next_items("latent"), 10) + 0.01


def test_pure_noise_without_skew_leaves_chance() -> None:
    drawn = simulate(300, 50, noise=1, skew=0, lengths=(5, 8, 20))
    scores = drawn.oracle((5, 10))
    free = 50 - (drawn.lengths - 1)
    assert scores["HR@10"] == pytest.approx((10 / free).mean())
    assert scores["NDCG@5"] == pytest.approx(((1 / np.log2(np.arange(2, 7))).sum() / free).mean())


def test_what_is_known_raises_the_score(shop: Shop) -> None:
    history, latent = shop.oracle(10), shop.oracle(10, knows="latent")
    assert history["HR@10"] < latent["HR@10"] < history["HR@10"] + 0.1


def test_long_histories_tell_the_type(shop: Shop) -> None:
    right = shop.posterior().sum(axis=2)[np.arange(2000), shop.types]
    short, long = right[shop.lengths <= 8].mean(), right[shop.lengths >= 30].mean()
    assert 1.5 / 8 < short < long - 0.2


def test_intents_last_and_items_follow(shop: Shop) -> None:
    within = np.arange(shop.hidden.shape[1] - 1) < shop.lengths[:, None] - 1
    before, after = shop.hidden[:, :-1][within], shop.hidden[:, 1:][within]
    redrawn = (shop.process.mixture**2).sum(axis=1)[np.broadcast_to(shop.types[:, None], within.shape)[within]]
    assert (before == after).mean() == pytest.approx((0.8 + 0.2 * redrawn).mean(), abs=0.02)
    last, item = shop.histories[:, :-1][within], shop.histories[:, 1:][within]
    followed = (shop.process.successors[last] == item[:, None]).any(axis=1)
    assert 0.3 < followed.mean() < 0.5


def test_filter_seen_matters_only_with_repeats(shop: Shop) -> None:
    assert shop.oracle(10, filter_seen=True) == pytest.approx(shop.oracle(10))
    again = simulate(500, 60, repeats=True, lengths=(5, 20, 60))
    opened, masked = again.oracle((10, 60)), again.oracle((10, 60), filter_seen=True)
    assert opened["HR@60"] == pytest.approx(1)
    assert masked["HR@10"] < opened["HR@10"] - 0.05
    fresh = [again.histories[u, n - 1] not in again.histories[u, : n - 1] for u, n in enumerate(again.lengths)]
    assert again.oracle(60, filter_seen=True, realised=True)["HR@60"] == pytest.approx(np.mean(fresh))


def test_popularity_is_skewed() -> None:
    def top_tenth(skew: float) -> float:
        counts = np.sort(simulate(1000, 200, skew=skew, taste=0).log["item_id"].value_counts()["count"].to_numpy())
        return counts[-20:].sum() / counts.sum()

    assert top_tenth(0) < 0.16 < 0.3 < top_tenth(1.2)


def test_attributes_and_titles_tell_of_the_intent(shop: Shop) -> None:
    assert shop.items["title"].n_unique() == 400 and shop.items["item_id"].to_list() == list(range(1, 401))
    departments = np.array([a[0] for a in shop.items["attributes"].to_list()])
    brands = np.array([a[2] for a in shop.items["attributes"].to_list()])
    agree = {}
    for name, values in (("department", departments), ("brand", brands)):
        agree[name] = sum(np.bincount(shop.intents[values == v]).max() for v in np.unique(values)) / 400
    assert 0.85 < agree["department"] < 1  # informative, not a giveaway
    assert agree["brand"] < 0.5


def test_brands_tell_of_the_type(shop: Shop) -> None:
    brands = np.unique([a[2] for a in shop.items["attributes"].to_list()], return_inverse=True)[1]
    shares = np.zeros((8, 6))
    users, steps = np.nonzero(shop.histories >= 0)
    np.add.at(shares, (shop.types[users], brands[shop.histories[users, steps]]), 1)
    shares /= shares.sum(axis=1, keepdims=True)
    assert (shares.max(axis=0) > 2 * shares.min(axis=0)).sum() >= 4


def test_blocks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = simulate(150, 40, lengths=(5, 10, 30))
    scores = whole.oracle()
    monkeypatch.setattr(shop_module, "BLOCK", 40 * 7)
    cut = simulate(150, 40, lengths=(5, 10, 30))
    assert cut.log.equals(whole.log)
    assert cut.oracle() == pytest.approx(scores)


def test_edges_of_the_process_are_sound() -> None:
    exhausted = simulate(50, 12, intents=3, noise=0, persistence=1, lengths=(12, 12, 12))
    assert (np.sort(exhausted.histories, axis=1) == np.arange(12)).all()
    assert exhausted.oracle(1)["HR@1"] == pytest.approx(1)  # one item is left
    lonely = simulate(20, 5, intents=5, types=1, follow=1, lengths=(2, 3, 5))
    np.testing.assert_allclose(lonely.next_items().sum(axis=1), 1)
    many = simulate(10, 40, intents=20)
    assert many.items["title"].n_unique() == 40 and many.lengths.max() <= 40
    assert len({attributes[0] for attributes in many.items["attributes"].to_list()}) > 8


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"noise": 1.5}, "noise must be between 0 and 1"),
        ({"persistence": -0.1}, "persistence"),
        ({"follow": float("nan")}, "follow"),
        ({"skew": -1.0}, "skew must be at least 0"),
        ({"intents": 0}, "at least 1"),
        ({"n_items": 3, "lengths": (2, 2, 3)}, "at least intents"),
        ({"lengths": (1, 5, 9)}, "shortest"),
        ({"n_items": 8, "lengths": (9, 9, 9)}, "lower lengths"),
    ],
)
def test_numbers_out_of_range_are_refused(numbers: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        simulate(**numbers)  # type: ignore[arg-type]


def test_the_oracle_refuses_what_it_cannot_answer(shop: Shop) -> None:
    with pytest.raises(InputError, match="at least 1"):
        shop.oracle((5, 0))
    with pytest.raises(InputError, match="knows"):
        shop.next_items("everything")  # type: ignore[arg-type]
