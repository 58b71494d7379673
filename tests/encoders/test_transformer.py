"""What every path through the transformer must keep: causality, indifference to padding, honest refusals."""

import pytest
import torch

from recloom.encoders import Transformer
from recloom.errors import InputError

DIM = 16
PATHS = [(block, positions, "0") for block in ("bert", "original") for positions in ("from_start", "from_end")]
PATHS += [("bert", "from_end", "0.3"), ("original", "from_start", "0.3")]


def encode(encoder, vectors, lengths, context="causal"):
    valid = torch.arange(vectors.shape[1]) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        return encoder.eval()(vectors * valid[..., None], valid, context)


@pytest.fixture(params=PATHS, ids="-".join)
def encoder(request):
    torch.manual_seed(0)
    block, positions, share = request.param
    numbers = {"block": block, "positions": positions, "average_share": float(share), "std": 0.3}
    return Transformer(DIM, layers=2, heads=2, length=12, **numbers)


def test_a_later_item_never_changes_an_earlier_causal_state(encoder):
    vectors = torch.randn(3, 9, DIM)
    changed = vectors.clone()
    changed[:, 6] = torch.randn(3, DIM)
    before, after = encode(encoder, vectors, [9, 9, 9]), encode(encoder, changed, [9, 9, 9])
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().amax(-1).min() > 1e-3, "later states must see it"


def test_a_bidirectional_state_sees_later_items(encoder):
    vectors = torch.randn(1, 5, DIM)
    changed = vectors.clone()
    changed[:, 4] = torch.randn(1, DIM)
    before, after = (encode(encoder, v, [5], "bidirectional") for v in (vectors, changed))
    assert (before[:, 0] - after[:, 0]).abs().max() > 1e-3


@pytest.mark.parametrize("context", ["causal", "bidirectional"])
def test_more_padding_changes_nothing(encoder, context):
    vectors = torch.randn(2, 10, DIM)
    short, long = encode(encoder, vectors[:, :6], [4, 6], context), encode(encoder, vectors, [4, 6], context)
    torch.testing.assert_close(short[0, :4], long[0, :4])
    torch.testing.assert_close(short[1], long[1, :6])


def test_positions_count_from_the_side_they_say():
    torch.manual_seed(0)
    vectors = torch.randn(1, 6, DIM)
    for positions, same_last in (("from_end", True), ("from_start", False)):
        encoder = Transformer(DIM, length=12, positions=positions, std=0.3)
        valid = torch.ones(1, 6, dtype=torch.bool)
        whole, tail = encoder.positions(valid).expand(1, -1, -1), encoder.positions(valid[:, 1:]).expand(1, -1, -1)
        assert torch.equal(whole[0, -1], tail[0, -1]) == same_last
        assert encode(encoder, vectors, [6]).shape == (1, 6, DIM)


def test_order_matters(encoder):
    vectors = torch.randn(1, 5, DIM)
    swapped = vectors[:, [1, 0, 2, 3, 4]]
    assert (encode(encoder, vectors, [5])[:, -1] - encode(encoder, swapped, [5])[:, -1]).abs().max() > 1e-4


def test_parameter_count_of_the_published_shape():
    encoder = Transformer(64, layers=2, heads=2, length=50)
    block = 4 * (64 * 64 + 64) + (64 * 256 + 256) + (256 * 64 + 64) + 2 * 128
    assert sum(p.numel() for p in encoder.parameters()) == 50 * 64 + 128 + 2 * block


@pytest.mark.parametrize("wrong", [{"heads": 3}, {"block": "gpt"}, {"positions": "middle"}, {"layers": 0}])
def test_impossible_shapes_are_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Transformer(DIM, **wrong)


def test_a_context_it_cannot_read_and_a_row_too_long_are_refused():
    encoder = Transformer(DIM, length=4)
    with pytest.raises(InputError, match="sideways"):
        encode(encoder, torch.randn(1, 3, DIM), [3], "sideways")
    with pytest.raises(InputError, match="length=4"):
        encode(encoder, torch.randn(1, 5, DIM), [5])


@pytest.mark.parametrize("context", ["causal", "bidirectional"])
def test_the_last_state_alone_is_the_last_of_all_states(encoder, context):
    vectors, lengths = torch.randn(3, 9, DIM), [9, 4, 1]
    valid = torch.arange(9) < torch.tensor(lengths)[:, None]
    vectors = vectors * valid[..., None]
    with torch.no_grad():
        ends = encoder.eval().last(vectors, valid, context)
        states = encoder(vectors, valid, context)
    torch.testing.assert_close(ends, states[torch.arange(3), torch.tensor(lengths) - 1])


@pytest.mark.parametrize("context", ["causal", "bidirectional"])
def test_states_at_some_places_are_those_of_all_states(encoder, context):
    vectors, lengths = torch.randn(3, 9, DIM), [9, 4, 1]
    valid = torch.arange(9) < torch.tensor(lengths)[:, None]
    places = torch.zeros_like(valid)
    places[0, [1, 2, 8]] = places[1, 3] = True
    with torch.no_grad():
        some, states = encoder.eval().at(vectors, valid, places, context), encoder(vectors, valid, context)
        none = encoder.at(vectors, valid, torch.zeros_like(places), context)
    torch.testing.assert_close(some, states[places])
    assert none.shape == (0, DIM)


def test_the_activation_is_the_one_asked_for():
    torch.manual_seed(0)
    gelu = Transformer(DIM, length=12, std=0.3)
    relu = Transformer(DIM, length=12, std=0.3, activation="relu")
    relu.load_state_dict(gelu.state_dict())
    vectors = torch.randn(2, 5, DIM)
    assert (encode(gelu, vectors, [5, 5]) - encode(relu, vectors, [5, 5])).abs().max() > 1e-3
    with pytest.raises(InputError, match="activation='tanh'"):
        Transformer(DIM, activation="tanh")
