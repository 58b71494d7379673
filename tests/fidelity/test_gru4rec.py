"""GRU4Rec and its form with attributes against loops written from their equations."""

import math

import numpy as np
import pytest
import torch

from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.methods import gru4rec, gru4rec_f

LISTS = [[1, 2], [3], [], [2, 4], [1, 3, 4], [2], [4]]
ITEMS = len(LISTS)
ROWS = [[3, 1, 4, 5], [2, 6], [7, 7, 2]]
TARGETS = [[1, 4, 5, 2], [6, 1], [7, 2, 0]]
SMALL = {"dim": 6, "hidden": 5, "length": 8, "dropout": 0.0}


@pytest.fixture
def catalog():
    return Catalog(
        np.arange(ITEMS),
        attribute_names=list("abcd"),
        attribute_offsets=np.cumsum([0, 0, *map(len, LISTS), 0]),
        attribute_values=np.concatenate(LISTS).astype(np.int32),
    )


@pytest.fixture
def batch():
    rows, targets = (torch.tensor([row + [0] * (4 - len(row)) for row in part]) for part in (ROWS, TARGETS))
    return SequenceBatch(torch.arange(3), rows, targets)


def drawn(method):
    """The method in float64 with weights that matter."""
    torch.manual_seed(0)
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, 0, 0.7)
    return method.double().eval()


def sigma(x):
    return 1 / (1 + np.exp(-x))


def steps(unit, inputs):
    """The states of one unit without biases, gate by gate."""
    w, u = (getattr(unit, name).detach().numpy() for name in ("weight_ih_l0", "weight_hh_l0"))
    size = u.shape[1]
    (wr, wz, wh), (ur, uz, uh) = (np.split(matrix, [size, 2 * size]) for matrix in (w, u))
    h, states = np.zeros(size), []
    for x in inputs:
        r, z = sigma(wr @ x + ur @ h), sigma(wz @ x + uz @ h)
        h = (1 - z) * np.tanh(wh @ x + r * (uh @ h)) + z * h
        states.append(h)
    return np.stack(states)


def affine(layer, states):
    return states @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def test_states_and_scores_equal_the_equations(catalog, batch):
    method = drawn(methods.build("gru4rec", catalog, **SMALL)[0].method)
    table, encoder = method.backbone.items.weight.detach().numpy(), method.backbone.encoder
    with torch.no_grad():
        states, scores = method.backbone(batch.items), method.score(batch, torch.arange(1, ITEMS + 1))
    for row, items in enumerate(ROWS):
        slow = affine(encoder.project, steps(encoder.unit, table[items]))
        np.testing.assert_allclose(states[row, : len(items)], slow, rtol=1e-9)
        np.testing.assert_allclose(scores[row], [slow[-1] @ table[item] for item in range(1, ITEMS + 1)], rtol=1e-9)


def test_the_loss_asks_every_position_for_its_next_item(catalog, batch):
    method = drawn(methods.build("gru4rec", catalog, precision="fp32", **SMALL)[0].method)
    table, encoder, found = method.backbone.items.weight.detach().numpy(), method.backbone.encoder, []
    for items, targets in zip(ROWS, TARGETS, strict=True):
        for state, target in zip(affine(encoder.project, steps(encoder.unit, table[items])), targets, strict=True):
            if target:
                every = [math.exp(state @ table[item]) for item in range(1, ITEMS + 1)]
                found.append(-math.log(every[target - 1] / sum(every)))
    assert method.training_step(batch, 0).item() == pytest.approx(sum(found) / len(found), rel=1e-6)


@pytest.mark.parametrize("name", ["gru4rec", "gru4rec-f"])
def test_a_batch_equals_one_by_one_and_later_items_are_not_seen(catalog, batch, name):
    method = drawn(methods.build(name, catalog, **SMALL)[0].method)
    states = method.backbone(batch.items)
    for row, items in enumerate(ROWS):
        for stop in range(1, len(items) + 1):
            alone = method.backbone(torch.tensor([items[:stop]]))
            torch.testing.assert_close(alone[0], states[row, :stop])
            torch.testing.assert_close(method.backbone.last(torch.tensor([items[:stop]])), alone[:, -1])


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_two_units_read_items_and_attributes_apart(catalog, batch, pooling):
    method = drawn(methods.build("gru4rec-f", catalog, pooling=pooling, **SMALL)[0].method)
    items, encoder = method.backbone.items, method.backbone.encoder
    own, of = items.ids.weight.detach().numpy(), items.attributes.weight.detach().numpy()
    with torch.no_grad():
        states, scores = method.backbone(batch.items), method.score(batch, torch.arange(1, ITEMS + 1))
    for row, history in enumerate(ROWS):
        pooled = []
        for item in history:
            total = sum((of[value] for value in LISTS[item - 1]), np.zeros(6))
            pooled.append(total / max(1, len(LISTS[item - 1])) if pooling == "mean" else total)
        both = [steps(encoder.first.unit, own[history]), steps(encoder.second.unit, np.stack(pooled))]
        slow = affine(encoder.join, np.concatenate(both, 1))
        np.testing.assert_allclose(states[row, : len(history)], slow, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(scores[row], [slow[-1] @ own[item] for item in range(1, ITEMS + 1)], rtol=1e-9)


def test_without_attribute_vectors_it_is_gru4rec(catalog, batch):
    plain, joint = gru4rec.make_backbone(catalog, **SMALL), gru4rec_f.make_backbone(catalog, **SMALL)
    joint.items.attributes.weight.data.zero_()
    plain.items.weight.data = joint.items.ids.weight.data
    plain.encoder.unit.load_state_dict(joint.encoder.first.unit.state_dict())
    plain.encoder.project.weight.data = joint.encoder.join.weight.data[:, :5]
    plain.encoder.project.bias.data = joint.encoder.join.bias.data
    torch.testing.assert_close(joint(batch.items), plain(batch.items))
    joint.items.attributes.weight.data.fill_(1.0)
    assert not torch.allclose(joint(batch.items), plain(batch.items))


def test_dropout_is_on_the_item_vectors_alone(catalog):
    encoder = gru4rec_f.make_backbone(catalog, dropout=0.3).encoder
    assert (encoder.first.dropout, encoder.second.dropout, encoder.dropout) == (0.3, 0.0, 0.0)


def test_the_published_shape(catalog):
    units = 3 * 128 * (64 + 128)
    plain, joint = gru4rec.make_backbone(catalog), gru4rec_f.make_backbone(catalog)
    assert sum(p.numel() for p in plain.encoder.parameters()) == units + 128 * 64 + 64
    assert sum(p.numel() for p in joint.encoder.parameters()) == 2 * units + 256 * 64 + 64
    assert plain.items.weight.std().item() == pytest.approx((2 / (ITEMS + 2 + 64)) ** 0.5, rel=0.15)
