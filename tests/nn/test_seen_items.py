"""Terms for the items of a history, place by place, and wherever scores are formed."""

import numpy as np
import polars as pl
import pytest
import torch

import recloom
from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.errors import InputError
from recloom.nn.seen_items import SPREAD, SeenItems, places
from recloom.training import Schedule
from recloom.training.method import scores_of
from recloom.training.seen_items import fit_seen_items, fitted_temperature, scored_rows

NUMBERS = {"dim": 8, "length": 10, "epochs": 40, "patience": 40, "lr": 5e-3, "batch_size": 64, "dropout": 0.3}
ROWS = torch.tensor([[3, 5, 3, 7, 3], [4, 4, 0, 0, 0]])


def terms():
    module = SeenItems(5)
    with torch.no_grad():
        module.share.fill_(0.5)
        module.seen.fill_(-2)
        module.times.fill_(0.5)
        module.recency.copy_(torch.arange(5) / 10)
    return module


def test_each_item_gets_that_of_all_its_recency_and_its_times():
    scores = torch.randn(2, 9)
    found = scores.scatter_add(1, ROWS, terms()(ROWS, scores.gather(1, ROWS)))
    wanted = scores.clone()
    wanted[0, 3] = 0.5 * scores[0, 3] - 2 + 0.0 + 2 * 0.5
    wanted[0, 7] = 0.5 * scores[0, 7] - 2 + 0.1
    wanted[0, 5] = 0.5 * scores[0, 5] - 2 + 0.3
    wanted[1, 4] = 0.5 * scores[1, 4] - 2 + 0.0 + 0.5
    torch.testing.assert_close(found, wanted)


@pytest.fixture(scope="module")
def repeating():
    """People go back to what they had two steps ago, and a run that knows."""
    draw, rows = np.random.default_rng(0), []
    for user in range(400):
        history = draw.choice(20, 2, replace=False).tolist()
        while len(history) < 10:
            history.append(history[-2] if draw.random() < 0.8 else int(draw.integers(20)))
        rows += [(user, item) for item in history]
    log = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(timestamp=pl.int_range(pl.len()))
    data = recloom.prepare(log, min_user=0, min_item=0)
    return data, recloom.train("sasrec", data, progress=False, seen_items=True, **NUMBERS)


def test_evaluation_recommendation_and_score_agree(repeating):
    data, run = repeating
    method = run.method
    with torch.no_grad():
        method.seen_items.recency[1] += 3
    evaluation = run.evaluate("full-open")
    offsets, items = data.sequences.offsets, data.sequences.items
    for user in (0, 7):
        history = items[offsets[user] : offsets[user + 1] - 1].astype(np.int64)
        batch = SequenceBatch(torch.tensor([user]), torch.from_numpy(history)[None])
        with torch.no_grad():
            plain = method.queries(batch)[0, 0] @ method.catalogue().t()
            terms = method.seen_items(batch.items, plain[batch.items])
            wanted = plain[None].scatter_add(1, batch.items, terms)[0, 1:-1]
            torch.testing.assert_close(method.score(batch, torch.arange(1, data.n_items + 1))[0], wanted)
            some = torch.tensor([[history[-1], history[0], 1]])
            torch.testing.assert_close(method.score(batch, some)[0], wanted[some[0] - 1])
        target = items[offsets[user + 1] - 1]
        assert evaluation.ranks[user] == (wanted >= wanted[target - 1]).sum()
        asked = [data.catalog.decode(history)]
        best = run.recommend(asked, k=3, filter_seen=False).frame
        assert best["score"].to_list() == pytest.approx(wanted.topk(3).values.tolist(), rel=1e-5)
        allowed = run.recommend(asked, k=2, filter_seen=False, allow=data.catalog.decode([history[-1], 3])).frame
        assert allowed["score"].to_list() == pytest.approx(
            sorted({wanted[history[-1] - 1].item(), wanted[2].item()}, reverse=True), rel=1e-5
        )
    with torch.no_grad():
        method.seen_items.recency[1] -= 3


def test_terms_reach_behind_what_a_method_reads(repeating):
    data, _ = repeating
    run = recloom.train("sasrec", data, progress=False, seen_items=True, **NUMBERS | {"length": 3, "epochs": 1})
    method, (offsets, items) = run.method, (data.sequences.offsets, data.sequences.items)
    assert method.seen_items.recency.shape == (3,) and method.seen_items.recency.abs().min() > 0
    evaluation = run.evaluate("full-open")
    for user in (0, 7, 30):
        history = items[offsets[user] : offsets[user + 1] - 1].astype(np.int64)
        rows = torch.from_numpy(history)[None]
        with torch.no_grad():
            plain = method.queries(SequenceBatch(torch.tensor([user]), rows[:, -3:]))[0, 0] @ method.catalogue().t()
        seen, wanted = method.seen_items, plain[1:-1].clone()
        for item in set(history.tolist()):
            since, times = history[::-1].tolist().index(item), history.tolist().count(item)
            recency = seen.recency[min(since, 2)]
            wanted[item - 1] = seen.share * plain[item] + seen.seen + recency + seen.times * (times - 1)
        target = items[offsets[user + 1] - 1]
        assert evaluation.ranks[user] == (wanted >= wanted[target - 1]).sum()
        best = run.recommend([data.catalog.decode(history)], k=4, filter_seen=False).frame
        assert best["score"].to_list() == pytest.approx(wanted.topk(4).values.tolist(), rel=1e-5)


def test_scores_of_single_items_are_gathered_in_blocks(monkeypatch):
    queries, table, items = torch.randn(5, 2, 4), torch.randn(9, 4), torch.randint(1, 8, (5, 3))
    wanted = (queries @ table.t()).amax(1).gather(1, items)
    for most in (1, 30, 1 << 20):
        monkeypatch.setattr("recloom.training.method.NUMBERS_AT_ONCE", most)
        torch.testing.assert_close(scores_of(queries, table, items), wanted)


class Scored(torch.nn.Module):
    """A method whose scores are given, over data that ask for its rows."""

    ranks_by, length, device = "vectors", 5, torch.device("cpu")

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def queries(self, batch):
        return self.scores[batch.users][:, None]

    def catalogue(self):
        return torch.eye(self.scores.shape[1])


@pytest.fixture
def known():
    """Five people's histories, what they took then, and scores that are too sure."""
    torch.manual_seed(3)
    rows = [[3, 5, 3, 7, 3, 3], [4, 4, 6, 4], [2, 6, 1, 5, 7], [5, 2], [1, 3, 2, 3, 6, 3]]
    log = [(user, item, time) for user, row in enumerate(rows) for time, item in enumerate([*row, 1])]
    columns = ["user_id", "item_id", "timestamp"]
    data = recloom.prepare(pl.DataFrame(log, schema=columns, orient="row"), min_user=0, min_item=0)
    return rows, data, Scored(4 * torch.randn(len(rows), data.n_items + 2))


def log_likelihood(rows, data, method, numbers, temperature):
    """Of the last item of each row after those before it, by loops."""
    share, seen, times, *recency = numbers
    found = 0.0
    for row, items in enumerate(rows):
        *history, target = (int(data.catalog.encode([item])[0]) for item in items)
        logits = list(method.scores[row].double() / temperature)
        for item in set(history):
            again, since = history.count(item) - 1, history[::-1].index(item)
            logits[item] = share * logits[item] + seen + times * again + recency[since]
        found = found + torch.stack(logits[1:-1]).log_softmax(0)[target - 1]
    return found


def test_the_fit_is_where_the_targets_are_most_likely_by_loops(known):
    rows, data, method = known
    module, temperature = SeenItems(5), fitted_temperature(method, data)
    fit_seen_items(method, module, data)
    others = torch.cat([module.seen[None], module.times[None], module.recency]) / temperature
    numbers = torch.cat([module.share[None], others]).double().requires_grad_()
    prior = 0.5 * ((numbers[0] - 1) ** 2 + (numbers[1] / SPREAD) ** 2 + numbers[2:].square().sum())
    (prior - log_likelihood(rows, data, method, numbers, temperature)).backward()
    assert numbers[:5].abs().min() > 1e-3
    assert numbers.grad.abs().max() < 1e-3


def test_scores_of_any_size_get_finite_terms_and_those_that_are_not_finite_none(known):
    _, data, method = known
    module = SeenItems(5)
    method.scores *= 1e5
    fit_seen_items(method, module, data)
    assert all(value.isfinite().all() for value in module.state_dict().values())
    one, zero = torch.ones(2), torch.zeros(2, dtype=torch.int64)
    module.fit(one * 800, one, zero, zero, torch.tensor([0, 1]), torch.tensor([False, False]), temperature=1.0)
    assert module.share < 0.5, "exponentials of such scores overflow, but the search finds less of them likelier"
    with pytest.raises(InputError, match="no finite terms"):
        module.fit(one * torch.nan, one, zero, zero, zero, one.bool(), temperature=1.0)


def test_the_temperature_makes_new_targets_most_likely_by_loops(known):
    rows, data, method = known

    def unlikeliness(temperature):
        total = 0.0
        for row, items in enumerate(rows):
            *history, target = (int(data.catalog.encode([item])[0]) for item in items)
            if target not in history:
                new = [item for item in range(1, data.n_items + 1) if item not in history]
                total -= float((method.scores[row, new] / temperature).log_softmax(0)[new.index(target)])
        return total

    found = fitted_temperature(method, data)
    assert found > 1.5 and unlikeliness(found) < min(unlikeliness(found * 1.02), unlikeliness(found / 1.02))


def test_no_more_rows_are_scored_than_asked_however_few_fit_at_one_time(known, monkeypatch):
    _, data, method = known
    monkeypatch.setattr("recloom.training.seen_items.SCORES_PER_BLOCK", 1)
    for most, wanted in ((5, 5), (4, 3), (2, 2), (1, 1)):
        assert sum(len(targets) for _, _, targets in scored_rows(method, data, most)) == wanted


def test_places_of_long_rows_by_loops():
    rows = torch.randint(1, 30, (7, 90), generator=torch.Generator().manual_seed(1))
    rows[3, 40:], rows[5, 1:] = 0, 0
    last, since, again = places(rows)
    for row, items in enumerate(rows.tolist()):
        items = [item for item in items if item]
        for at, item in enumerate(items):
            assert last[row, at] == (item not in items[at + 1 :])
            if last[row, at]:
                assert (since[row, at], again[row, at]) == (len(items) - 1 - at, items.count(item) - 1)
        assert not last[row, len(items) :].any()


def test_places_of_rows():
    last, since, again = places(ROWS)
    assert last.tolist() == [[False, True, False, True, True], [False, True, False, False, False]]
    assert since[last].tolist() == [3, 1, 0, 0] and again[last].tolist() == [0, 0, 2, 1]


def test_repeats_are_found_and_nothing_is_trained_by_them(repeating):
    data, run = repeating
    assert run.evaluate("full-open", k=(1,)).metrics()["HR@1"] > 0.6
    assert not any("seen" in name for name, _ in run.method.named_parameters())
    plain = recloom.train("sasrec", data, progress=False, **NUMBERS)
    for (name, value), (_, other) in zip(run.method.named_parameters(), plain.method.named_parameters(), strict=True):
        torch.testing.assert_close(value, other, msg=name)


def test_a_ranker_of_pairs_has_no_such_terms(repeating):
    assert not {"seen_items"} & {*methods.arguments("ncf"), *methods.arguments("autoint")}
    ranker = methods.build("ncf", repeating[0].catalog)[0].method
    with pytest.raises(InputError, match="NCF scores pairs"):
        Schedule(seen_items=True).stage(ranker)


def test_where_nobody_repeats_nothing_seen_is_recommended(cycle):
    numbers = {"dim": 16, "length": 12, "epochs": 30, "patience": 30, "lr": 5e-3, "batch_size": 64}
    run = recloom.train("sasrec", cycle, progress=False, seen_items=True, **numbers)
    assert run.method.seen_items.seen < -1
    masked, open_ = (run.evaluate(protocol).metrics() for protocol in ("full-mask", "full-open"))
    assert open_["HR@10"] == pytest.approx(masked["HR@10"], abs=0.01)


def test_terms_are_formed_only_where_they_change_a_rank(repeating, monkeypatch):
    data, run = repeating
    asked, form = [], SeenItems.forward
    monkeypatch.setattr(SeenItems, "forward", lambda self, *row: asked.append(row) or form(self, *row))
    run.evaluate("full-mask")
    numbers = NUMBERS | {"epochs": 1, "valid_protocol": "full-open"}
    recloom.train("sasrec", data, progress=False, seen_items=True, **numbers)
    assert not asked
    run.evaluate("full-mask", insert_noise=0.5)  # what is inserted is not masked
    noisy = len(asked)
    run.evaluate("full-open")
    assert 0 < noisy < len(asked)


@pytest.mark.parametrize("name", ["bpr-mf", "bert4rec", "dssrec", "gru4rec"])
def test_any_method_of_vectors_takes_them_and_a_saved_run_keeps_them(repeating, tmp_path, name):
    data, _ = repeating
    run = recloom.train(name, data, out=tmp_path / "run", progress=False, epochs=2, seen_items=True, dim=8)
    assert run.method.seen_items.seen != 0
    again = recloom.load(tmp_path / "run", data)
    found, kept = (one.evaluate("full-open").metrics()["NDCG@10"] for one in (run, again))
    assert found == pytest.approx(kept)
    run.method.seen_items = None
    assert run.evaluate("full-open").metrics()["NDCG@10"] < found
