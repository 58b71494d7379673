"""FDSA: tags weighed by attention, two streams, and what is left without one of them."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.methods import fdsa

LISTS = [[1, 2], [3], [], [2, 4], [1, 3, 4], [2], [4]]
ITEMS, DIM = len(LISTS), 6
BATCH = SequenceBatch(torch.arange(3), torch.tensor([[3, 1, 4, 5], [2, 6, 0, 0], [7, 7, 2, 0]]))
SMALL = {"dim": DIM, "layers": 2, "heads": 2, "length": 8, "dropout": 0.0}


def catalog_of(lists=LISTS, names="abcd"):
    return Catalog(
        np.arange(len(lists)),
        attribute_names=list(names),
        attribute_offsets=np.cumsum([0, 0, *map(len, lists), 0]),
        attribute_values=np.concatenate(lists).astype(np.int32),
    )


def drawn(backbone):
    """The backbone in float64 with weights that matter."""
    torch.manual_seed(0)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return backbone.double().eval()


def mixture(attributes, values):
    """FDSA's vanilla attention over the vectors of some tags, `(dim,)`, by a loop."""
    vectors = [attributes.weight[value].detach().numpy() for value in values]
    if not vectors:
        return np.zeros(DIM)
    w, b = attributes.hidden.weight.detach().numpy(), attributes.hidden.bias.detach().numpy()
    v, c = attributes.score.weight[0].detach().numpy(), attributes.score.bias.item()
    exponentials = [math.exp(v @ np.maximum(w @ vector + b, 0) + c) for vector in vectors]
    return sum(share / sum(exponentials) * vector for share, vector in zip(exponentials, vectors, strict=True))


def test_both_streams_are_joined_after_their_own_attention():
    backbone = drawn(fdsa.make_backbone(catalog_of(), **SMALL))
    items, encoder = backbone.items, backbone.encoder
    features = np.zeros((3, 4, DIM))
    for row, history in enumerate(BATCH.items.tolist()):
        for position, item in enumerate(history):
            features[row, position] = mixture(items.attributes, LISTS[item - 1] if item else [])
    with torch.no_grad():
        states = backbone(BATCH.items)
        one = encoder.first(items.ids(BATCH.items), BATCH.valid)
        two = encoder.second(torch.from_numpy(features), BATCH.valid)
    w, b = encoder.join.weight.detach().numpy(), encoder.join.bias.detach().numpy()
    for row, length in enumerate([4, 2, 3]):
        for position in range(length):
            x = w @ np.concatenate([one[row, position], two[row, position]]) + b
            slow = (x - x.mean()) / x.std() * encoder.norm.weight.detach().numpy() + encoder.norm.bias.detach().numpy()
            np.testing.assert_allclose(states[row, position], slow, rtol=1e-9)


def test_scores_are_against_the_items_own_vectors():
    method = methods.build("fdsa", catalog_of(), **SMALL)[0].method
    drawn(method)
    every = torch.arange(1, ITEMS + 1)
    wanted = method.backbone(BATCH.items)[[0, 1, 2], [3, 1, 2]] @ method.backbone.items.ids.weight[every].t()
    torch.testing.assert_close(method.score(BATCH, every), wanted)


def test_permuted_tags_change_nothing():
    one, two = (drawn(fdsa.make_backbone(catalog_of(lists), **SMALL)) for lists in (LISTS, [x[::-1] for x in LISTS]))
    torch.testing.assert_close(one(BATCH.items), two(BATCH.items))


def test_attention_is_over_an_items_own_tags_alone():
    """A tag of other items, however strong, and the class of no item change no state."""
    backbone = drawn(fdsa.make_backbone(catalog_of(), **SMALL))
    ids = torch.tensor([[2, 6, 2]])
    before = backbone(ids)
    backbone.items.attributes.weight.data[[0, 1, 4]] = 50.0
    torch.testing.assert_close(backbone(ids), before)
    backbone.items.attributes.weight.data[2] *= -1
    assert not torch.allclose(backbone(ids)[:, 1:], before[:, 1:])


def test_the_single_field_is_an_option_and_attention_the_default():
    attentive, plain = (
        fdsa.make_backbone(catalog_of(), **SMALL),
        fdsa.make_backbone(catalog_of(), pooling="mean", **SMALL),
    )
    assert attentive.items.attributes.pooling == "attention"
    drawn(plain)
    vector = plain.items(torch.tensor([5]))[0, DIM:]
    torch.testing.assert_close(vector, plain.items.attributes.weight[[1, 3, 4]].mean(0))


def test_without_the_stream_of_attributes_it_is_sasrec_with_a_linear_head():
    backbone = drawn(fdsa.make_backbone(catalog_of(), **SMALL))
    encoder = backbone.encoder
    encoder.join.weight.data[:, DIM:] = 0
    with torch.no_grad():
        states = backbone(BATCH.items)
        plain = encoder.first(backbone.items.ids(BATCH.items), BATCH.valid)
        head = plain @ encoder.join.weight[:, :DIM].t() + encoder.join.bias
    wanted = F.layer_norm(head, (DIM,), encoder.norm.weight, encoder.norm.bias, 1e-12)
    torch.testing.assert_close(states, wanted)


@pytest.mark.parametrize("part", ["position", "norm"])
def test_each_stream_has_its_own(part):
    encoder = fdsa.make_backbone(catalog_of(), **SMALL).encoder
    assert getattr(encoder.first, part) is not getattr(encoder.second, part)


def test_bce_with_one_negative_is_the_papers_loss():
    method = methods.build("fdsa", catalog_of(), loss="bce", **SMALL)[0].method
    batch = SequenceBatch(BATCH.users, BATCH.items, torch.tensor([[1, 4, 5, 2], [6, 1, 0, 0], [7, 2, 1, 0]]))
    assert method.training_step(batch, 0).item() == pytest.approx(2 * math.log(2), abs=0.05), "at the start"
