"""HGN's gates by loops over one window at a time."""

import math

import pytest
import torch

from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.errors import InputError


def make(catalog, **numbers):
    torch.manual_seed(0)
    method = methods.build("hgn", catalog, **{"dim": 4, "recent": 3, "length": 9, **numbers})[0].method
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, 0, 0.6)
    return method.double()


def slow(method, user, history):
    """The three parts of what a user asks for after a history."""
    p, latest = method.users.weight[user], history[-3:]
    features, gates = [], []
    for place, item in enumerate(latest, 3 - len(latest)):
        s = method.items[item]
        gate = torch.sigmoid(method.feature_item.weight @ s + method.feature_item.bias + method.feature_user.weight @ p)
        features.append(s * gate)
        gates.append(
            torch.sigmoid(features[-1] @ method.instance_item.weight[0] + method.instance_user.weight[place] @ p)
        )
    union = sum(g * f for g, f in zip(gates, features, strict=True)) / sum(gates)
    return p, union, sum(method.items[item] for item in latest)


def test_the_score_is_the_sum_of_its_three_parts(cycle):
    method = make(cycle.catalog)
    histories, users = ([3, 8, 2, 9, 1], [6, 4], [7]), [4, 0, 2]
    items = torch.tensor([history + [0] * (5 - len(history)) for history in histories])
    found = method.score(SequenceBatch(torch.tensor(users), items), torch.arange(1, 31))
    for row, (user, history) in enumerate(zip(users, histories, strict=True)):
        wanted = sum(method.output[1:31] @ part for part in slow(method, user, history)) + method.bias[1:31]
        torch.testing.assert_close(found[row], wanted)


def test_every_position_asks_as_if_the_row_ended_there(cycle):
    method, items = make(cycle.catalog), torch.tensor([[3, 8, 2, 9, 1]])
    found = method.ask(items, method.users(torch.tensor([4])))
    for stop in range(1, 6):
        alone = method.queries(SequenceBatch(torch.tensor([4]), items[:, :stop]))[0, 0]
        torch.testing.assert_close(found[0, stop - 1], alone)


def test_open_gates_give_the_mean(cycle):
    method = make(cycle.catalog)
    with torch.no_grad():
        for parameter in (method.instance_item.weight, method.instance_user.weight, method.users.weight):
            parameter.zero_()
        method.feature_item.weight.zero_()
        method.feature_item.bias.fill_(100)
    asked = method.queries(SequenceBatch(torch.tensor([4]), torch.tensor([[3, 8]])))[0, 0, :-1]
    vectors = method.items[[3, 8]]
    torch.testing.assert_close(asked, vectors.mean(0) + vectors.sum(0))


def test_twice_as_open_gates_of_instances_change_nothing(cycle):
    """Far below 0 the logistic function is the exponential one, so that ln 2 more opens a gate twice as far."""
    method, found = make(cycle.catalog).double(), []
    batch = SequenceBatch(torch.tensor([4]), torch.tensor([[3, 8, 2]]))
    with torch.no_grad():
        place = method.users(torch.tensor([4]))[0].abs().argmax()
        for shift in (-20.0, math.log(2) - 20.0, 0.0):
            method.instance_user.weight.zero_()
            method.instance_user.weight[:, place] = shift / method.users(torch.tensor([4]))[0, place]
            found.append(method.queries(batch))
    torch.testing.assert_close(found[0], found[1], rtol=1e-7, atol=1e-7)
    assert not torch.allclose(found[0], found[2], rtol=1e-7, atol=1e-7)


def test_the_loss_is_bpr_over_the_next_targets_of_every_position(cycle, monkeypatch):
    method, users = make(cycle.catalog, targets=2), [4, 1]
    items, targets = torch.tensor([[3, 8, 2], [6, 0, 0]]), torch.tensor([[8, 2, 5], [1, 0, 0]])
    drawn = iter(([[9, 10, 11], [12, 0, 0]], [[20, 21, 0], [0, 0, 0]]))
    monkeypatch.setattr(
        "recloom.objectives.next_item.uniform_outside",
        lambda rows, shape, n, draw: torch.tensor(next(drawn))[..., None],
    )
    found, losses = method.training_step(SequenceBatch(torch.tensor(users), items, targets), 0), []
    for places in ([(0, 0, 8, 9), (0, 1, 2, 10), (0, 2, 5, 11), (1, 0, 1, 12)], [(0, 0, 2, 20), (0, 1, 5, 21)]):
        for row, at, good, bad in places:
            asked = sum(slow(method, users[row], items[row, : at + 1].tolist()))
            good, bad = (method.output[item] @ asked + method.bias[item] for item in (good, bad))
            losses.append(-torch.log(torch.sigmoid(good - bad)))
    torch.testing.assert_close(found, torch.stack(losses).mean())  # each pair of a position and a target the same


def test_less_than_one_is_refused(cycle):
    for name in ("recent", "targets"):
        with pytest.raises(InputError, match=f"{name}=0"):
            make(cycle.catalog, **{name: 0})


def test_no_more_items_are_read_than_a_row_holds(cycle):
    with pytest.raises(InputError, match=r"recent=12 must lie in 1\.\.9"):
        make(cycle.catalog, recent=12)
