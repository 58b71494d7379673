"""Pooled attributes against a slow loop, and what is left out while training."""

import math

import numpy as np
import pytest
import torch

from recloom.data.catalog import Catalog
from recloom.errors import InputError
from recloom.items import AttributeEmbedding
from recloom.items.attributes import POOLINGS

DIM = 6


def slow(embedding, catalog, item):
    """The pooled vector of one item, by loops over its attributes."""
    if not 1 <= item <= catalog.n_items:
        return np.zeros(DIM)
    start, stop = catalog.attribute_offsets[item], catalog.attribute_offsets[item + 1]
    vectors = [embedding.weight[value].tolist() for value in catalog.attribute_values[start:stop]]
    if not vectors:
        return np.zeros(DIM)
    shares = [1.0] * len(vectors)
    if embedding.pooling == "mean":
        shares = [1 / len(vectors)] * len(vectors)
    if embedding.pooling == "attention":
        first, bias = embedding.hidden.weight.tolist(), embedding.hidden.bias.tolist()
        second, last = embedding.score.weight[0].tolist(), embedding.score.bias.item()
        exponentials = []
        for vector in vectors:
            score = last
            for row, own, weight in zip(first, bias, second, strict=True):
                score += weight * max(0.0, own + sum(w * x for w, x in zip(row, vector, strict=True)))
            exponentials.append(math.exp(score))
        shares = [value / sum(exponentials) for value in exponentials]
    return sum(share * np.array(vector) for share, vector in zip(shares, vectors, strict=True))


@pytest.fixture(params=POOLINGS)
def embedding(request, catalog):
    torch.manual_seed(0)
    return AttributeEmbedding(catalog, DIM, pooling=request.param, std=1.0).double().eval()


@pytest.mark.parametrize("times", [1, 30], ids=["few occurrences", "many occurrences"])
def test_pooling_equals_the_loop(embedding, catalog, times):
    ids = torch.arange(catalog.n_rows).repeat(times).view(times, -1)
    got = embedding(ids[:, :5] if times == 1 else ids)
    assert got.shape == (*(ids[:, :5] if times == 1 else ids).shape, DIM)
    for row in got.detach().numpy():
        for item, vector in enumerate(row):
            np.testing.assert_allclose(vector, slow(embedding, catalog, item), rtol=1e-10, atol=1e-12)


def test_items_without_attributes_padding_and_mask_are_zero(embedding, catalog):
    assert not embedding(torch.tensor([0, 1, catalog.mask_id])).any()
    assert embedding(torch.tensor([2])).any()
    assert embedding(torch.zeros(3, 0, dtype=torch.int64)).shape == (3, 0, DIM)


def test_gradients_are_those_of_finite_differences(embedding):
    ids = torch.tensor([[2, 5, 0], [1, 9, 5]])

    def run(weight):
        return torch.func.functional_call(embedding, {"weight": weight}, (ids,))

    assert torch.autograd.gradcheck(run, (embedding.weight.detach().clone().requires_grad_(),))


def test_row_zero_belongs_to_no_item(embedding, catalog):
    ids = torch.arange(catalog.n_rows)
    embedding(ids).sum().backward()
    assert not embedding.weight.grad[0].any()
    used = np.unique(catalog.attribute_values)
    assert embedding.weight.grad[torch.from_numpy(used).long()].any(1).all()


def test_the_order_of_attributes_is_irrelevant(embedding, make_catalog):
    lists = [[1, 4, 7], [2, 3], [5, 8, 9, 6]]
    one, two = make_catalog(lists, 9), make_catalog([values[::-1] for values in lists], 9)
    vectors = []
    for each in (one, two):
        copy = AttributeEmbedding(each, DIM, pooling=embedding.pooling).double()
        copy.load_state_dict(embedding.state_dict())
        vectors.append(copy(torch.arange(1, 4)))
    torch.testing.assert_close(*vectors)


def test_attention_survives_large_scores(catalog):
    embedding = AttributeEmbedding(catalog, DIM, pooling="attention", std=30.0)
    vectors = embedding(torch.arange(catalog.n_rows))
    vectors.sum().backward()
    assert torch.isfinite(vectors).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in embedding.parameters())


def test_each_attribute_of_each_occurrence_is_left_out_at_the_rate(make_catalog):
    """With a unit vector for each attribute, the sum tells which were kept."""
    embedding = AttributeEmbedding(make_catalog([[1, 2, 3]], 3), 3, pooling="sum", dropout=0.3)
    embedding.weight.data = torch.cat([torch.zeros(1, 3), torch.eye(3)])
    torch.manual_seed(0)
    kept = embedding(torch.ones(40_000, dtype=torch.int64))
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    torch.testing.assert_close(kept.mean(0), torch.ones(3), atol=0.02, rtol=0)
    together = torch.corrcoef(kept.t())
    assert (together - torch.eye(3)).abs().max() < 0.02, "attributes are left out one by one"
    embedding.eval()
    assert torch.equal(embedding(torch.tensor([1])), torch.ones(1, 3))


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_mean_and_attention_are_taken_over_those_kept(make_catalog, pooling):
    torch.manual_seed(0)
    embedding = AttributeEmbedding(make_catalog([[1, 2, 3]], 3), 3, pooling=pooling, dropout=0.5)
    embedding.weight.data = torch.cat([torch.zeros(1, 3), torch.eye(3)])
    vectors = embedding(torch.ones(4000, dtype=torch.int64))
    none = ~vectors.any(1)
    assert none.float().mean() == pytest.approx(1 / 8, abs=0.02), "all left out gives zero"
    torch.testing.assert_close(vectors[~none].sum(1), torch.ones(int((~none).sum())))
    assert len(vectors.round(decimals=3).unique(dim=0)) == 8
    vectors.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in embedding.parameters())


def test_what_cannot_be_is_refused(catalog):
    with pytest.raises(InputError, match=r"no attributes.*--items ITEMS --attributes COLUMN.*sasrec"):
        AttributeEmbedding(Catalog(np.arange(3)), DIM)
    with pytest.raises(InputError, match="pooling='max'"):
        AttributeEmbedding(catalog, DIM, pooling="max")
    with pytest.raises(InputError, match="attribute_dropout=1"):
        AttributeEmbedding(catalog, DIM, dropout=1.0)
