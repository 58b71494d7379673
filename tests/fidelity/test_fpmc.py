"""FPMC by its equation, and what each of its two parts can learn."""

import math

import numpy as np
import polars as pl
import pytest
import torch

import recloom
from recloom import methods
from recloom.data.batch import SequenceBatch


def make(catalog):
    torch.manual_seed(0)
    method = methods.build("fpmc", catalog, dim=4, length=8)[0].method
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return method.double()


def slow(method, user, latest, item):
    likes, follows = method.items[item, :4], method.items[item, 4:]
    return (method.users.weight[user] @ likes + method.latest[latest] @ follows).item()


def test_a_full_ranking_is_the_loop(cycle):
    method = make(cycle.catalog)
    batch = SequenceBatch(torch.tensor([4, 0]), torch.tensor([[3, 8, 2], [6, 0, 0]]))
    found = method.score(batch, torch.arange(1, 31))
    wanted = [[slow(method, user, latest, item) for item in range(1, 31)] for user, latest in ((4, 2), (0, 6))]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))


def test_the_loss_is_s_bpr_of_every_transition(cycle):
    from recloom.data.negatives import uniform_outside

    method = make(cycle.catalog)
    items, targets = torch.tensor([[3, 8], [6, 0]]), torch.tensor([[8, 5], [1, 0]])
    method.generator.manual_seed(2)
    loss = method.training_step(SequenceBatch(torch.tensor([4, 0]), items, targets), 0)
    drawn = uniform_outside(torch.cat([items, targets], 1), (2, 2, 1), 30, torch.Generator().manual_seed(2))
    terms = []
    for row, column, user in ((0, 0, 4), (0, 1, 4), (1, 0, 0)):
        good, bad = (slow(method, user, items[row, column], x[row, column]) for x in (targets, drawn[..., 0]))
        terms.append(math.log(1 + math.exp(bad - good)))
    assert loss.item() == pytest.approx(np.mean(terms))


def test_without_the_user_the_latest_item_decides(cycle):
    method = make(cycle.catalog)
    with torch.no_grad():
        method.users.weight.zero_()
    batch = SequenceBatch(torch.tensor([1, 2]), torch.tensor([[3, 8, 2], [9, 2, 0]]))
    one, two = method.score(batch, torch.arange(1, 31))
    assert torch.equal(one, two)


def test_a_permutation_of_items_is_learnt_exactly():
    draw = np.random.default_rng(0)
    after = np.roll(np.arange(20), 1)[draw.permutation(20).argsort()]
    order = draw.permutation(20)
    after[order] = np.roll(order, -1)
    rows = []
    for user in range(200):
        item = int(draw.integers(20))
        for _ in range(8):
            rows.append((user, item))
            item = int(after[item])
    log = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(timestamp=pl.int_range(pl.len()))
    data = recloom.prepare(log, min_user=0, min_item=0)
    run = recloom.train("fpmc", data, progress=False, dim=16, lr=2e-2, batch_size=64, epochs=40, patience=40)
    assert run.evaluate(k=(1,)).metrics()["HR@1"] >= 0.99
    answers = run.recommend([[int(i)] for i in range(20)], k=1).frame["item_id"].to_list()
    assert np.mean(np.array(answers) == after) >= 0.95, "users never seen are served by the latest item"
