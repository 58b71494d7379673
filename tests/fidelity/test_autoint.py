"""AutoInt's layers by loops, its fields, and its ranking in blocks."""

import math

import numpy as np
import pytest
import torch

from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.errors import InputError
from recloom.methods.autoint import AutoInt, InteractingLayer


@torch.no_grad()
def test_an_interacting_layer_by_loops():
    torch.manual_seed(0)
    layer, fields = InteractingLayer(6, 2).double(), torch.randn(4, 3, 6).double()
    found = layer(fields.transpose(0, 1)).transpose(0, 1)
    for example in range(4):
        for m in range(3):
            heads = []
            for head in range(2):
                part = slice(3 * head, 3 * head + 3)
                query = (layer.query.weight @ fields[example, m])[part]
                score = [math.exp(float(query @ (layer.key.weight @ fields[example, j])[part])) for j in range(3)]
                mixed = sum(s * (layer.value.weight @ fields[example, j])[part] for j, s in enumerate(score)) / sum(
                    score
                )
                heads.append(mixed)
            wanted = torch.relu(torch.cat(heads) + layer.residual.weight @ fields[example, m])
            torch.testing.assert_close(found[example, m], wanted)


def test_fields_may_be_permuted_and_without_attention_the_residual_is_left():
    torch.manual_seed(0)
    layer, fields = InteractingLayer(6, 2), torch.randn(3, 4, 6)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(layer(fields[order]), layer(fields)[order])
    layer.value.weight.data.zero_()
    torch.testing.assert_close(layer(fields), torch.relu(layer.residual(fields)))
    with pytest.raises(InputError, match="heads=4"):
        InteractingLayer(6, 4)


def build(data, **numbers):
    torch.manual_seed(0)
    method = methods.build("autoint", data.catalog, dim=8, **numbers)[0].method.eval()
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return method


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("pairs", [1 << 17, 40, 7])
def test_a_ranking_is_pair_by_pair(cycle_with_attributes, deep, pairs, monkeypatch):
    monkeypatch.setattr("recloom.methods.autoint.PAIRS_AT_ONCE", pairs)
    method = build(cycle_with_attributes, deep=deep)
    batch = SequenceBatch(torch.tensor([0, 5, -1]), torch.ones(3, 1, dtype=torch.int64))
    every = torch.arange(1, 31)
    with torch.no_grad():
        found = method.score(batch, every)
        for row, user in enumerate((*method.users.weight[[0, 5]], method.users.weight.mean(0))):
            for item in (1, 17, 30):
                fields = torch.stack([user, method.items.table()[item], method.attributes(torch.tensor(item))])[:, None]
                states = fields
                for layer in method.layers:
                    states = layer(states)
                wanted = method.read(states.flatten())[0] + (method.deep(fields.flatten())[0] if deep else 0)
                torch.testing.assert_close(found[row, item - 1], wanted)
        own = torch.stack([torch.tensor([3, 9]), torch.tensor([30, 1]), torch.tensor([2, 2])])
        torch.testing.assert_close(method.score(batch, own), found.gather(1, own - 1))


@pytest.mark.parametrize("shape", [(30,), (3, 11)])
def test_no_more_pairs_at_once_than_memory_is_meant_for(cycle, shape, monkeypatch):
    monkeypatch.setattr("recloom.methods.autoint.PAIRS_AT_ONCE", 7)
    method, sizes = build(cycle), []
    whole = method.pairs
    monkeypatch.setattr(method, "pairs", lambda users, items: (sizes.append(len(users)), whole(users, items))[1])
    batch = SequenceBatch(torch.tensor([0, 5, -1]), torch.ones(3, 1, dtype=torch.int64))
    method.score(batch, torch.ones(shape, dtype=torch.int64))
    assert max(sizes) <= 7 and sum(sizes) == 3 * shape[-1]


def test_the_loss_by_a_loop_and_an_item_never_trained_on_is_its_attributes(cycle_with_attributes):
    method = build(cycle_with_attributes, negatives=2)
    method.trained[9] = False
    batch = SequenceBatch(torch.tensor([3, 0]), torch.tensor([[1, 2], [5, 0]]), torch.tensor([[2, 9], [6, 0]]))
    method.generator.manual_seed(5)
    rows, items, drawn = method.actions(batch, method.generator)
    method.generator.manual_seed(5)
    found, losses = method.training_step(batch, 0), []
    assert items.tolist() == [1, 2, 9, 5, 6]

    def score(user, item):
        own = method.items.table()[item] * (item != 9)
        fields = torch.stack([method.users.weight[user], own, method.attributes(torch.tensor(item))])[:, None]
        for layer in method.layers:
            fields = layer(fields)
        return method.read(fields.flatten())[0]

    for row, item, others in zip(rows.tolist(), items.tolist(), drawn.tolist(), strict=True):
        user = batch.users[row]
        losses.append(-torch.sigmoid(score(user, item)).log())
        losses[-1] = losses[-1] - sum((1 - torch.sigmoid(score(user, other))).log() for other in others)
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_without_attributes_there_are_two_fields(cycle, cycle_with_attributes):
    assert build(cycle).read.in_features == 16 and build(cycle_with_attributes).read.in_features == 24
    assert not build(cycle).scores_cold_items and build(cycle_with_attributes).scores_cold_items


def test_large_catalogues_are_validated_on_samples(cycle):
    from recloom.data.catalog import Catalog

    assert methods.build("autoint", cycle.catalog)[0].protocol == "full-mask"
    assert methods.build("autoint", Catalog(np.arange(2000)))[0].protocol == "sample-99"
    with pytest.raises(InputError, match="negatives=0"):
        AutoInt(cycle.catalog, 8, negatives=0)
