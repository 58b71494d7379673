"""NCF by its equations, pair by pair, and its two branches apart."""

import pytest
import torch
import torch.nn.functional as F

from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.errors import InputError
from recloom.methods import ncf


def make(catalog, **numbers):
    torch.manual_seed(0)
    method = ncf.NCF(catalog, **{"dim": 5, "hidden": 8, "layers": 3, "length": 8, **numbers})
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, 0, 0.6)
    return method.double().eval()


def slow(method, user, item):
    """One pair, as the paper writes it: the two branches end to end, read by one vector."""
    product = user[0] * method.items[item]
    first = torch.cat([method.from_user.weight, method.from_item.weight], 1)
    state = F.relu(first @ torch.cat([user[1], method.deep_items[item]]) + method.from_user.bias)
    for layer in method.tower:
        state = F.relu(layer.weight @ state + layer.bias)
    parts = {"both": (1, 1), "gmf": (1, 0), "mlp": (0, 1)}[method.branches]
    both = torch.cat([product * parts[0], state * parts[1]])
    return torch.cat([method.read_product.weight, method.read_tower.weight], 1)[0] @ both + method.read_product.bias[0]


@pytest.mark.parametrize(("shape", "pairs"), [((30,), 7), ((3, 11), 7), ((20_000,), None)])
def test_no_more_pairs_at_once_than_memory_is_meant_for(cycle, shape, pairs, monkeypatch):
    if pairs is not None:
        monkeypatch.setattr("recloom.methods.ncf.PAIRS_AT_ONCE", pairs)
    most = ncf.PAIRS_AT_ONCE
    method, sizes = make(cycle.catalog), []
    method.tower[0].register_forward_hook(lambda module, given, found: sizes.append(found.shape[:-1].numel()))
    users = 64 if pairs is None else 3
    batch = SequenceBatch(torch.arange(users), torch.ones(users, 1, dtype=torch.int64))
    with torch.no_grad():
        assert method.score(batch, torch.ones(shape, dtype=torch.int64)).shape == (users, shape[-1])
    assert max(sizes) <= most and sum(sizes) == users * shape[-1]
    usual = methods.build("ncf", cycle.catalog)[0].method
    assert ncf.PAIRS_AT_ONCE * 4 * usual.from_item.out_features <= 1 << 28, "bytes of the widest layer"


@pytest.mark.parametrize("branches", ["both", "gmf", "mlp"])
@pytest.mark.parametrize("pairs", [1 << 15, 7])
def test_a_ranking_is_pair_by_pair(cycle, branches, pairs, monkeypatch):
    monkeypatch.setattr("recloom.methods.ncf.PAIRS_AT_ONCE", pairs)
    method = make(cycle.catalog, branches=branches)
    batch = SequenceBatch(torch.tensor([0, 5, -1]), torch.ones(3, 1, dtype=torch.int64))
    users = [(method.users.weight[u], method.deep_users.weight[u]) for u in (0, 5)]
    users.append((method.users.weight.mean(0), method.deep_users.weight.mean(0)))
    with torch.no_grad():
        wanted = torch.stack([torch.stack([slow(method, user, item) for item in range(1, 31)]) for user in users])
        torch.testing.assert_close(method.score(batch, torch.arange(1, 31)), wanted)
        own = torch.tensor([[3, 9], [30, 1], [2, 2]])
        torch.testing.assert_close(method.score(batch, own), wanted.gather(1, own - 1))


def test_the_loss_is_bce_against_four_fresh_items(cycle):
    method = make(cycle.catalog)
    batch = SequenceBatch(torch.tensor([3]), torch.tensor([[1]]), torch.tensor([[2]]))
    method.generator.manual_seed(1)
    _, items, drawn = method.actions(batch, method.generator)
    again = method.actions(batch, method.generator)[2]
    assert drawn.shape == (2, 4) and not torch.equal(drawn, again), "negatives are drawn anew each time"
    method.generator.manual_seed(1)
    scores = method.score(batch, torch.arange(1, 31))[0]
    terms = F.softplus(-scores[items - 1]) + F.softplus(scores[drawn - 1]).sum(1)
    torch.testing.assert_close(method.training_step(batch, 0), terms.mean())


def test_widths_that_cannot_be_halved_are_refused(cycle):
    with pytest.raises(InputError, match="hidden=4"):
        methods.build("ncf", cycle.catalog, hidden=4, layers=5)
    with pytest.raises(InputError, match="branches='none'"):
        methods.build("ncf", cycle.catalog, branches="none")


@pytest.mark.parametrize(("name", "value"), [("hidden", 64), ("layers", 3), ("dropout", 0.5)])
def test_numbers_of_a_network_that_is_not_there_are_refused(cycle, name, value):
    with pytest.raises(InputError, match=f"{name}={value} has no effect: branches='gmf'"):
        methods.build("ncf", cycle.catalog, branches="gmf", **{name: value})


def test_dropout_acts_on_the_network_alone_and_only_while_training(cycle):
    batch, items = SequenceBatch(torch.tensor([4, 0]), torch.tensor([[3], [8]])), torch.arange(1, 31)
    for branches, changes in (("both", True), ("mlp", True), ("gmf", False)):
        method = make(cycle.catalog, dropout=0.5, branches=branches)
        assert torch.equal(method.score(batch, items), method.score(batch, items))
        method.train()
        assert torch.equal(method.score(batch, items), method.score(batch, items)) != changes
        method.dropout = 0.0
        torch.testing.assert_close(method.score(batch, items), method.eval().score(batch, items))
