"""Rows read in groups of like length: the same states, and the cheapest groups."""

import numpy as np
import pytest
import torch

from recloom.encoders import Transformer
from recloom.nn import IntentDisentangling, like_lengths
from recloom.nn.like_lengths import GROUP_COST, groups_of_like_length


def cost(groups, lengths):
    return sum(len(rows) * max(lengths[rows]) + GROUP_COST for rows in groups)


def cheapest(ordered):
    """By trying every way to cut the sorted rows."""
    if not len(ordered):
        return 0
    return min(n * ordered[n - 1] + GROUP_COST + cheapest(ordered[n:]) for n in range(1, len(ordered) + 1))


def test_groups_hold_every_row_once_and_cost_least():
    draw = np.random.default_rng(3)
    for _ in range(5):
        lengths = draw.choice([1, 4, 40, 90, 300, 1000], 11)
        groups = groups_of_like_length(lengths)
        assert sorted(np.concatenate(groups).tolist()) == list(range(11))
        assert cost(groups, lengths) == cheapest(np.sort(lengths))


@pytest.fixture
def rows():
    draw = torch.Generator().manual_seed(5)
    lengths = torch.cat([torch.randint(1, 6, (200,), generator=draw), torch.tensor([30, 7, 28])])
    lengths = lengths[torch.randperm(len(lengths), generator=draw)]
    valid = torch.arange(30) < lengths[:, None]
    return torch.randn(*valid.shape, 8, generator=draw), valid


@pytest.mark.parametrize("positions", ["from_start", "from_end"])
@pytest.mark.parametrize("context", ["causal", "bidirectional"])
@pytest.mark.parametrize("block", ["bert", "original"])
def test_states_and_gradients_are_those_of_all_rows_at_one_time(rows, positions, context, block, monkeypatch):
    vectors, valid = rows
    torch.manual_seed(1)
    encoder = Transformer(8, heads=2, length=30, dropout=0.0, block=block, positions=positions).train()
    assert len(groups_of_like_length(valid.sum(1).numpy())) > 1
    places = valid & (torch.rand(valid.shape, generator=torch.Generator().manual_seed(2)) < 0.3)
    found = {}
    for grouped in (True, False):
        if not grouped:
            monkeypatch.setattr(like_lengths, "WORTH", 0.0)
        given = vectors.clone().requires_grad_()
        states, ends = encoder(given, valid, context), encoder.last(given, valid, context)
        some = encoder.at(given, valid, places, context)
        assert states.shape == vectors.shape and ends.shape == (len(vectors), 8)
        torch.testing.assert_close(some, states[places], rtol=1e-4, atol=1e-5)
        encoder.zero_grad()
        ((states * valid[..., None]).sin().sum() + (ends * torch.arange(8)).cos().sum() + some.exp().sum()).backward()
        weights = encoder.blocks[0].widen.weight.grad.clone()
        found[grouped] = (states[valid].detach(), ends.detach(), some.detach(), given.grad, weights)
    for mine, plain in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-4)


def test_outside_training_nothing_is_grouped(rows, monkeypatch):
    vectors, valid = rows
    monkeypatch.setattr(like_lengths, "_plan", lambda valid: pytest.fail("grouped"))
    Transformer(8, heads=2, length=30).eval()(vectors, valid)


@pytest.mark.parametrize("label", [False, True])
def test_intents_are_those_of_all_rows_at_one_time(rows, label, monkeypatch):
    vectors, valid = rows
    torch.manual_seed(1)
    intents, found = IntentDisentangling(8, 3, 30).train(), []
    for worth in (like_lengths.WORTH, 0.0):
        monkeypatch.setattr(like_lengths, "WORTH", worth)
        intents.zero_grad()
        given = vectors.clone().requires_grad_()
        read = intents(given, valid, label=label)
        read.sin().sum().backward()
        found.append((read.detach(), given.grad, intents.prototypes.grad, intents.position.grad))
    for mine, plain in zip(*found, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-4)
