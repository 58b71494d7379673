"""BPR-MF by loops, and what it knows of a user it has not seen."""

import math

import numpy as np
import polars as pl
import pytest
import torch

import recloom
from recloom import methods
from recloom.data.batch import SequenceBatch


def make(catalog, **numbers):
    method = methods.build("bpr-mf", catalog, **{"dim": 4, "length": 8, **numbers})[0].method
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return method.double()


@pytest.mark.parametrize("biases", [False, True])
def test_the_loss_by_a_loop(cycle, biases):
    torch.manual_seed(0)
    method = make(cycle.catalog, biases=biases, negatives=2, regularisation=0.1)
    batch = SequenceBatch(torch.tensor([3, 0]), torch.tensor([[1, 2], [5, 0]]), torch.tensor([[2, 9], [6, 0]]))
    method.generator.manual_seed(5)
    rows, items, drawn = method.actions(batch, method.generator)
    method.generator.manual_seed(5)
    found, users = method.training_step(batch, 0), method.users.weight
    score = lambda u, i: (users[u] @ method.items[i] + (method.biases[i] if biases else 0)).item()  # noqa: E731
    losses, norms = [], []
    for row, item, bad in zip(rows.tolist(), items.tolist(), drawn.tolist(), strict=True):
        user = batch.users[row]
        losses += [math.log(1 + math.exp(score(user, b) - score(user, item))) for b in bad]
        norms.append((users[user].square().sum() + sum(method.items[i].square().sum() for i in (item, *bad))).item())
    assert found.item() == pytest.approx(np.mean(losses) + 0.1 * np.mean(norms))
    assert items.tolist() == [1, 2, 9, 5, 6]


def test_large_margins_stay_finite(cycle):
    method = make(cycle.catalog)
    with torch.no_grad():
        method.users.weight[0] = 1.0
        method.items.copy_(torch.full_like(method.items, 2000.0 / method.items.shape[1]))
        method.items[[1, 2]] = 0.0  # what the user took scores 2,000 below all else
    loss = method.training_step(SequenceBatch(torch.tensor([0]), torch.tensor([[1]]), torch.tensor([[2]])), 0)
    loss.backward()
    assert loss.item() >= 2000 * 0.99 and torch.isfinite(loss) and torch.isfinite(method.items.grad).all()


def test_folding_in_solves_the_least_squares(cycle):
    torch.manual_seed(1)
    method = make(cycle.catalog, others=0.2, ridge=0.3)
    real, mean = method.items[1:-1], method.users.weight.mean(0)
    vector = method.fold_in(torch.tensor([[4, 7, 0]]))[0].detach().requires_grad_()
    cost = sum((1 - vector @ method.items[i]) ** 2 for i in (4, 7))
    cost = cost + 0.2 * (real @ vector).square().sum() + 0.3 * (vector - mean).square().sum()
    (gradient,) = torch.autograd.grad(cost, vector)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-10, rtol=0)
    torch.testing.assert_close(
        method.queries(SequenceBatch(torch.tensor([2, -1]), torch.tensor([[4, 7], [4, 7]])))[:, 0],
        torch.stack([method.users.weight[2], vector]),
    )


def test_folding_in_counts_the_biases(cycle):
    torch.manual_seed(1)
    method = make(cycle.catalog, others=0.2, ridge=0.3, biases=True)
    real, biases = method.items[1:-1], method.biases
    vector = method.fold_in(torch.tensor([[4, 7, 0]]))[0].detach().requires_grad_()
    cost = sum((1 - vector @ method.items[i] - biases[i]) ** 2 for i in (4, 7))
    cost = cost + 0.2 * (real @ vector + biases[1:-1]).square().sum()
    cost = cost + 0.3 * (vector - method.users.weight.mean(0)).square().sum()
    (gradient,) = torch.autograd.grad(cost, vector)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-10, rtol=0)


def test_disjoint_blocks_are_ranked_perfectly_for_known_and_new_users():
    draw = np.random.default_rng(0)
    rows = [(user, user % 2 * 100 + int(item)) for user in range(200) for item in draw.permutation(12)[:10]]
    log = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(timestamp=pl.int_range(pl.len()))
    data = recloom.prepare(log, min_user=0, min_item=0)
    run = recloom.train("bpr-mf", data, progress=False, dim=8, lr=1e-2, batch_size=64, epochs=20)
    assert run.evaluate(k=(3,)).metrics()["HR@3"] == 1, "three items of the user's own block are left"
    answers = run.recommend([[101, 102, 103], [1, 2, 3]], k=9).frame
    assert set(answers["item_id"].to_list()[:9]) == set(range(100, 112)) - {101, 102, 103}
    assert set(answers["item_id"].to_list()[9:]) == set(range(12)) - {1, 2, 3}
