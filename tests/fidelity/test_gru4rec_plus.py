"""The losses of GRU4Rec+ by loops and closed forms, and its shared negatives."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.errors import InputError
from recloom.objectives import top_gains
from recloom.objectives.top_gains import LEFT_OUT


def sigma(x):
    return 1 / (1 + math.exp(-x))


def scores(n=4, k=6):
    """Scores, of which some are left out, and how many times each of the wrong answers stands there."""
    torch.manual_seed(0)
    good, bad = torch.randn(n).double(), torch.randn(n, k).double() * 2
    bad[0, 2] = bad[1, 5] = bad[1, 0] = LEFT_OUT
    return good, bad, torch.tensor([1.0, 3, 1, 2, 1, 1]).double()


def slow(name, good, bad, counts):
    losses = []
    for g, row in zip(good.tolist(), bad.tolist(), strict=True):
        kept = [b for b, n in zip(row, counts.tolist(), strict=True) for _ in range(int(n)) if b != LEFT_OUT]
        total = sum(map(math.exp, kept))
        share = [math.exp(b) / total for b in kept]
        terms = {
            "bpr-max": -math.log(sum(s * sigma(g - b) for s, b in zip(share, kept, strict=True)))
            + 0.7 * sum(s * b * b for s, b in zip(share, kept, strict=True)),
            "top1-max": sum(s * (sigma(b - g) + sigma(b * b)) for s, b in zip(share, kept, strict=True)),
            "top1": np.mean([sigma(b - g) + sigma(b * b) for b in kept]),
            "bpr": np.mean([-math.log(sigma(g - b)) for b in kept]),
            "softmax": -math.log(math.exp(g) / (math.exp(g) + total)),
        }
        losses.append(terms[name])
    return np.mean(losses)


@pytest.mark.parametrize("name", top_gains.LOSSES)
def test_the_losses_by_loops(name, cycle):
    numbers = {"regularisation": 0.7} if name == "bpr-max" else {}
    method = methods.build("gru4rec+", cycle.catalog, dim=4, loss=name, **numbers)[0].method
    good, bad, counts = scores()
    good.requires_grad_(), bad.requires_grad_()
    loss = method.ranked(good, bad, counts.log())
    assert loss.item() == pytest.approx(slow(name, good, bad, counts), rel=1e-10)
    loss.backward()
    assert torch.isfinite(good.grad).all() and (bad.grad[bad == LEFT_OUT] == 0).all()


def test_equal_negatives_give_plain_bpr_and_low_ones_no_gradient():
    good, bad, once = torch.tensor([0.4]).double(), torch.full((1, 5), -0.3).double(), torch.zeros(5).double()
    assert top_gains.bpr_max(good, bad, once, 0.0).item() == pytest.approx(math.log(1 + math.exp(-0.7)))
    assert top_gains.bpr_max(good, bad, once, 2.0).item() == pytest.approx(math.log(1 + math.exp(-0.7)) + 2 * 0.09)
    bad = torch.tensor([[1.0, -30.0]]).double().requires_grad_()
    top_gains.bpr_max(good, bad, once[:2], 1.0).backward()
    assert abs(bad.grad[0, 1]) < 1e-10 < abs(bad.grad[0, 0])


def test_the_targets_of_other_histories_and_the_samples_are_negatives(cycle, monkeypatch):
    method = methods.build("gru4rec+", cycle.catalog, dim=4, samples=3, elu=0.5, dropout=0.0)[0].method
    method.on_fit_start()
    batch = SequenceBatch(torch.arange(2), torch.tensor([[3, 8], [6, 0]]), torch.tensor([[8, 5], [8, 0]]))
    method.popular.draw = lambda n, generator: torch.tensor([5, 1, 2])
    caught = {}
    seen = lambda good, bad, log: caught.update(good=good, bad=bad, counts=log.exp()) or good.sum()  # noqa: E731
    monkeypatch.setattr(method, "ranked", seen)
    method.training_step(batch, 0)
    table, states = method.backbone.items.table(), method.backbone(batch.items)
    elu = lambda x: x if x > 0 else 0.5 * (math.exp(x) - 1)  # noqa: E731
    others, targets, own = [1, 2, 5, 8], [8, 5, 8], [{8, 5}, {8, 5}, {8}]
    assert caught["counts"].tolist() == pytest.approx([1, 1, 2, 2])
    for row, (at, target) in enumerate(zip([(0, 0), (0, 1), (1, 0)], targets, strict=True)):
        assert caught["good"][row].item() == pytest.approx(elu((states[at] @ table[target]).item()), rel=1e-5)
        for column, item in enumerate(others):
            value = LEFT_OUT if item in own[row] else elu((states[at] @ table[item]).item())
            assert caught["bad"][row, column].item() == pytest.approx(value, rel=1e-5)


def test_a_batch_of_one_item_alone_says_nothing(cycle):
    method = methods.build("gru4rec+", cycle.catalog, dim=4, samples=0)[0].method
    loss = method.training_step(SequenceBatch(torch.arange(1), torch.tensor([[3]]), torch.tensor([[8]])), 0)
    loss.backward()
    assert loss.item() == 0 and all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_a_history_that_has_all_targets_of_its_batch_adds_nothing(cycle, monkeypatch):
    method = methods.build("gru4rec+", cycle.catalog, dim=4, samples=0)[0].method
    caught = []
    monkeypatch.setattr(method, "ranked", lambda good, bad, log: caught.append(bad) or good.sum())
    items, targets = torch.tensor([[3, 8], [6, 0]]), torch.tensor([[8, 5], [8, 0]])
    method.training_step(SequenceBatch(torch.arange(2), items, targets), 0)
    (bad,) = caught
    assert bad.shape == (1, 2) and bad[0, 1] == LEFT_OUT and bad[0, 0] != LEFT_OUT


def test_samples_follow_the_power_of_the_count(cycle):
    method = methods.build("gru4rec+", cycle.catalog, alpha=0.5)[0].method
    method.on_fit_start()
    counts = torch.from_numpy(cycle.catalog.train_counts).double() ** 0.5
    torch.testing.assert_close(method.popular.probabilities, counts / counts.sum())


def test_what_does_not_fit_is_refused(cycle):
    for numbers, message in (
        ({"loss": "max"}, "loss='max'"),
        ({"logq": 1.0}, "logq"),
        ({"loss": "softmax", "logq": 2.0}, "logq=2.0 is a share"),
        ({"loss": "softmax", "logq": -1.0}, "logq=-1.0 is a share"),
        ({"loss": "bpr", "regularisation": 5.0}, "regularisation=5.0 has no effect"),
        ({"samples": -1}, "samples=-1"),
    ):
        with pytest.raises(InputError, match=message):
            methods.build("gru4rec+", cycle.catalog, **numbers)


def caught(method, batch, monkeypatch):
    found = {}
    monkeypatch.setattr(method, "ranked", lambda good, bad, log: found.update(good=good, bad=bad) or good.sum())
    method.training_step(batch, 0)
    return found


@pytest.mark.parametrize("samples", [3, 0])
def test_softmax_has_no_elu_and_takes_off_the_chance_to_stand_there(cycle, samples):
    options = {"dim": 4, "samples": samples, "dropout": 0.0, "loss": "softmax", "logq": 0.5, "alpha": 0.75}
    method = methods.build("gru4rec+", cycle.catalog, **options)[0].method
    method.counts = F.pad(torch.arange(2, len(method.counts)), (1, 1))
    method.on_fit_start()
    drawn = [5, 1, 8][:samples]  # 8 is a target too
    if samples:
        method.popular.draw = lambda n, generator: torch.tensor(drawn)
    batch = SequenceBatch(torch.arange(2), torch.tensor([[3, 8], [6, 0]]), torch.tensor([[8, 7], [9, 0]]))
    table, states, counts = method.backbone.items.table(), method.backbone(batch.items), method.counts.double()
    asked, sampled = counts / counts.sum(), counts**0.75 / (counts**0.75).sum()
    losses = []
    for user, at, target in ((0, 0, 8), (0, 1, 7), (1, 0, 9)):
        score = lambda item: (states[user, at] @ table[item]).item()  # noqa: B023, E731
        own = {0: (8, 7), 1: (9,)}[user]
        right = math.exp(score(target) - 0.5 * math.log(asked[target]))
        wrong = [score(item) - 0.5 * math.log(asked[item]) for item in (8, 7, 9) if item not in own]
        wrong += [score(item) - 0.5 * math.log(sampled[item]) for item in drawn if item not in own]
        losses.append(-math.log(right / (right + sum(map(math.exp, wrong)))))
    assert method.training_step(batch, 0).item() == pytest.approx(sum(losses) / 3, rel=1e-5)
    method.counts[[7, 9]] = 0  # targets that noise has put there
    method.on_fit_start()
    if samples:
        method.popular.draw = lambda n, generator: torch.tensor(drawn)
    assert torch.isfinite(method.training_step(batch, 0))


def test_without_a_more_popular_item_the_correction_changes_nothing(cycle):
    found = []
    for logq in (0.0, 0.4, 1.0):
        torch.manual_seed(0)
        options = {"dim": 4, "samples": 3, "dropout": 0.0, "loss": "softmax", "logq": logq, "alpha": 0.0}
        method = methods.build("gru4rec+", cycle.catalog, **options)[0].method
        method.counts = F.pad(torch.full((len(method.counts) - 2,), 7), (1, 1))
        method.on_fit_start()
        method.popular.draw = lambda n, generator: torch.tensor([5, 1, 8])
        batch = SequenceBatch(torch.arange(2), torch.tensor([[3, 8], [6, 0]]), torch.tensor([[8, 7], [9, 0]]))
        found.append(method.training_step(batch, 0).item())
    assert found[1:] == pytest.approx(found[:1] * 2, rel=1e-5)


def test_rows_of_one_user_are_no_negatives_of_each_other(cycle, monkeypatch):
    method = methods.build("gru4rec+", cycle.catalog, dim=4, samples=0, windows="prefixes")[0].method
    items, targets = torch.tensor([[3, 8], [3, 0], [6, 0]]), torch.tensor([[0, 5], [8, 0], [1, 0]])
    found = caught(method, SequenceBatch(torch.tensor([4, 4, 2]), items, targets), monkeypatch)
    assert (found["bad"] == LEFT_OUT).tolist() == [[False, True, True], [False, True, True], [True, False, False]]
