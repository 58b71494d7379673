"""Several rows laid end to end in one: where they lie, what they see, and the same states."""

import numpy as np
import pytest
import torch

from recloom.data.catalog import Catalog
from recloom.encoders import Transformer, transformer
from recloom.errors import InputError
from recloom.items import IdEmbedding
from recloom.nn import packing as module
from recloom.nn.packing import emptiest_first, packing
from recloom.training import Backbone


def test_rows_lie_side_by_side_in_few_packed_ones():
    draw = np.random.default_rng(3)
    for _ in range(20):
        width = int(draw.integers(5, 60))
        lengths = np.minimum(draw.geometric(0.2, 200), width)
        begins = emptiest_first(lengths, width)
        slots = np.concatenate([begin + np.arange(n) for begin, n in zip(begins, lengths, strict=True)])
        assert len(np.unique(slots)) == lengths.sum(), "no slot is taken twice"
        assert (begins // width == (begins + lengths - 1) // width).all(), "a row lies in one packed row"
        packed, held = slots.max() // width + 1, np.bincount(slots // width)
        assert held.min() > 0 and packed * width <= 1.25 * lengths.sum() + width
        rows = np.bincount(begins // width)
        assert rows.max() <= 4 * rows.mean(), "short rows are spread"


@pytest.fixture
def rows():
    draw = torch.Generator().manual_seed(5)
    lengths = torch.cat([torch.randint(1, 6, (200,), generator=draw), torch.tensor([30, 7, 28])])
    lengths = lengths[torch.randperm(len(lengths), generator=draw)]
    valid = torch.arange(30) < lengths[:, None]
    return torch.randn(*valid.shape, 8, generator=draw), valid


def test_a_position_keeps_its_values_and_sees_its_row(rows):
    vectors, valid = rows
    packed = packing(valid)
    laid, numbers = packed.pack(vectors), torch.arange(len(valid))[:, None].expand(valid.shape)
    assert laid.shape[0] < len(valid) / 4
    assert (packed.unpack(laid) == vectors * valid[..., None]).all()
    row, place = packed.pack(numbers), packed.pack(torch.arange(valid.shape[1]).expand(valid.shape))
    real = packed.pack(valid)
    assert (packed.row == torch.where(real, row, -1)).all()
    for causal in (True, False):
        seen = packed.seen(causal)
        assert seen.diagonal(dim1=1, dim2=2).all(), "each slot sees itself, so that no sum is empty"
        for one, slot in real.nonzero()[::7].tolist():
            wanted = real[one] & (row[one] == row[one, slot]) & ((place[one] <= place[one, slot]) | (not causal))
            assert (seen[one, slot] == wanted).all()


def test_rows_of_like_length_stay_as_they_are():
    assert packing(torch.arange(6) < torch.tensor([6, 5, 5, 6])[:, None]) is None


@pytest.mark.parametrize("positions", ["from_start", "from_end"])
@pytest.mark.parametrize("context", ["causal", "bidirectional"])
@pytest.mark.parametrize("block", ["bert", "original"])
def test_states_and_gradients_are_those_of_all_rows_at_one_time(rows, positions, context, block, monkeypatch):
    vectors, valid = rows
    torch.manual_seed(1)
    encoder = Transformer(8, heads=2, length=30, dropout=0.0, block=block, positions=positions).train()
    assert packing(valid) is not None
    places = valid & (torch.rand(valid.shape, generator=torch.Generator().manual_seed(2)) < 0.3)
    found = {}
    for packed in (True, False):
        if not packed:
            monkeypatch.setattr(module, "WORTH", 0.0)
        given = vectors.clone().requires_grad_()
        states, ends = encoder(given, valid, context), encoder.last(given, valid, context)
        some = encoder.at(given, valid, places, context)
        assert states.shape == vectors.shape and ends.shape == (len(vectors), 8)
        torch.testing.assert_close(some, states[places], rtol=1e-4, atol=1e-5)
        encoder.zero_grad()
        ((states * valid[..., None]).sin().sum() + (ends * torch.arange(8)).cos().sum() + some.exp().sum()).backward()
        weights = encoder.blocks[0].widen.weight.grad.clone()
        found[packed] = (states[valid].detach(), ends.detach(), some.detach(), given.grad, weights)
    for mine, plain in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("context", ["causal", "bidirectional"])
@pytest.mark.parametrize("positions", ["from_start", "from_end"])
def test_a_backbone_packs_ids_so_that_padding_has_no_vectors(rows, positions, context, monkeypatch):
    _, valid = rows
    draw = torch.Generator().manual_seed(4)
    ids = torch.randint(1, 51, valid.shape, generator=draw) * valid
    places = valid & (torch.rand(valid.shape, generator=draw) < 0.3)
    torch.manual_seed(1)
    encoder = Transformer(8, heads=2, length=30, dropout=0.0, positions=positions)
    backbone = Backbone(IdEmbedding(Catalog(np.arange(50)), 8), encoder).train()
    formed, found = [], {}
    backbone.items.register_forward_hook(lambda module, given, vectors: formed.append(vectors[..., 0].numel()))
    for packed in (True, False):
        if not packed:
            monkeypatch.setattr(module, "WORTH", 0.0)
        states, ends = backbone(ids, context), backbone.last(ids, context)
        some = backbone.at(ids, places, context)
        backbone.zero_grad()
        ((states * valid[..., None]).sin().sum() + (ends * torch.arange(8)).cos().sum() + some.exp().sum()).backward()
        gradients = [parameter.grad.clone() for parameter in backbone.parameters()]
        found[packed] = [states[valid].detach(), ends.detach(), some.detach(), *gradients]
    for mine, plain in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-4)
    assert max(formed[:3]) <= 1.25 * int(valid.sum()) + 30 < valid.numel() == formed[3]


def test_what_an_encoder_cannot_read_is_refused_of_packed_rows_too():
    backbone = Backbone(IdEmbedding(Catalog(np.arange(50)), 8), Transformer(8, heads=2, length=10)).train()
    ids = torch.arange(1, 13).repeat(9, 1) * (torch.arange(12) < torch.tensor([[12], *[[1]] * 8]))
    assert packing(ids != 0) is not None
    for read in (backbone, backbone.last):
        with pytest.raises(InputError, match="a row of 12 items is longer than length=10"):
            read(ids)
        with pytest.raises(InputError, match="cannot read a 'backward' context"):
            read(ids[:, :10], "backward")


def test_outside_training_and_beside_moving_averages_nothing_is_packed(rows, monkeypatch):
    vectors, valid = rows
    monkeypatch.setattr(transformer, "packing", lambda valid: pytest.fail("packed"))
    Transformer(8, heads=2, length=30).eval()(vectors, valid)
    Transformer(8, heads=2, length=30, average_share=0.5).train()(vectors, valid)
