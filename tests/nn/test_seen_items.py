"""Terms for the items of a history, place by place, and wherever scores are formed."""

import numpy as np
import polars as pl
import pytest
import torch

import recloom
from recloom.data.batch import SequenceBatch
from recloom.nn.seen_items import SCALE, SeenItems, add_terms

ROWS = torch.tensor([[3, 5, 3, 7, 3], [4, 4, 0, 0, 0]])


def terms():
    module = SeenItems(5)
    with torch.no_grad():
        module.base.fill_(-2), module.again.fill_(0.5), module.recency.copy_(torch.arange(5) / 10)
    return module


def test_each_item_gets_its_base_its_recency_and_its_times():
    found = add_terms(torch.zeros(2, 9), ROWS, terms()(ROWS)) / SCALE
    wanted = torch.zeros(2, 9)
    wanted[0, 3] = -2 + 0.0 + 2 * 0.5
    wanted[0, 7] = -2 + 0.1
    wanted[0, 5] = -2 + 0.3
    wanted[1, 4] = -2 + 0.0 + 0.5
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
    numbers = {"dim": 8, "length": 10, "epochs": 40, "patience": 40, "lr": 5e-3, "batch_size": 64, "dropout": 0.3}
    return data, recloom.train("sasrec", data, progress=False, seen_items=True, **numbers)


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
            wanted = add_terms(plain[None], batch.items, method.seen_terms(batch))[0, 1:-1]
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


def test_repeats_are_learnt_and_the_states_learn_nothing_from_the_terms(repeating):
    _, run = repeating
    assert run.evaluate("full-open", k=(1,)).metrics()["HR@1"] > 0.6
    method = run.method.train()
    windows_batch = SequenceBatch(torch.arange(2), ROWS[:, :3], torch.tensor([[5, 3, 7], [4, 6, 0]]))
    method.zero_grad()
    method.seen_loss(method.seen_items, windows_batch).backward()
    touched = {name for name, p in method.named_parameters() if p.grad is not None}
    assert touched == {"seen_items.base", "seen_items.again", "seen_items.recency"}
    method.eval()


def test_where_nobody_repeats_nothing_seen_is_recommended(cycle):
    numbers = {"dim": 16, "length": 12, "epochs": 30, "patience": 30, "lr": 5e-3, "batch_size": 64}
    run = recloom.train("sasrec", cycle, progress=False, seen_items=True, **numbers)
    assert SCALE * run.method.seen_items.base < -1
    masked, open_ = (run.evaluate(protocol).metrics() for protocol in ("full-mask", "full-open"))
    assert open_["HR@10"] == pytest.approx(masked["HR@10"], abs=0.01)
