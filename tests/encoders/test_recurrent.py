"""The recurrent encoder against its equations, and what every encoder must keep."""

import numpy as np
import pytest
import torch

from recloom.encoders import Recurrent
from recloom.errors import InputError

DIM, HIDDEN = 6, 7


def valid_of(longest, lengths):
    return torch.arange(longest) < torch.tensor(lengths)[:, None]


def sigma(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(params=[(1, False), (2, True)], ids=["one layer", "two layers with biases"])
def encoder(request):
    torch.manual_seed(0)
    layers, bias = request.param
    made = Recurrent(DIM, hidden=HIDDEN, layers=layers, bias=bias, length=12).double().eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return made


def slow(encoder, row):
    """The states of one row `(length, dim)`, one step and one gate at a time."""
    own = {name: parameter.detach().numpy() for name, parameter in encoder.unit.named_parameters()}
    inputs = row.numpy()
    for layer in range(encoder.unit.num_layers):
        w, u = own[f"weight_ih_l{layer}"].reshape(3, HIDDEN, -1), own[f"weight_hh_l{layer}"].reshape(3, HIDDEN, HIDDEN)
        zeros = np.zeros((3, HIDDEN))
        b = own.get(f"bias_ih_l{layer}", zeros).reshape(3, HIDDEN)
        c = own.get(f"bias_hh_l{layer}", zeros).reshape(3, HIDDEN)
        h, states = np.zeros(HIDDEN), []
        for x in inputs:
            r = sigma(w[0] @ x + b[0] + u[0] @ h + c[0])
            z = sigma(w[1] @ x + b[1] + u[1] @ h + c[1])
            candidate = np.tanh(w[2] @ x + b[2] + r * (u[2] @ h + c[2]))
            h = (1 - z) * candidate + z * h
            states.append(h)
        inputs = np.stack(states)
    return inputs @ encoder.project.weight.detach().numpy().T + encoder.project.bias.detach().numpy()


def test_states_equal_the_equations_row_by_row(encoder):
    lengths = [5, 9, 1]
    vectors = torch.randn(3, 9, DIM, dtype=torch.float64)
    states = encoder(vectors, valid_of(9, lengths)).detach().numpy()
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(states[row, :length], slow(encoder, vectors[row, :length]), rtol=1e-9)


def test_padding_disturbs_no_state_and_last_is_the_last_real_one(encoder):
    vectors, lengths = torch.randn(2, 8, DIM, dtype=torch.float64), [3, 6]
    padded = torch.cat([vectors, torch.full((2, 4, DIM), 9.0, dtype=torch.float64)], 1)
    short, long = encoder(vectors, valid_of(8, lengths)), encoder(padded, valid_of(12, lengths))
    torch.testing.assert_close(short, long[:, :8])
    torch.testing.assert_close(encoder.last(padded, valid_of(12, lengths)), short[[0, 1], [2, 5]])


def test_packed_rows_give_the_same_states(encoder):
    lengths = torch.tensor([3, 8, 5])
    vectors = torch.randn(3, 8, DIM, dtype=torch.float64)
    packed = torch.nn.utils.rnn.pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
    states = torch.nn.utils.rnn.pad_packed_sequence(encoder.unit(packed)[0], batch_first=True)[0]
    valid = valid_of(8, lengths.tolist())
    torch.testing.assert_close(encoder(vectors, valid)[valid], encoder.project(states)[valid])


def test_a_later_item_never_changes_an_earlier_state(encoder):
    vectors = torch.randn(2, 9, DIM, dtype=torch.float64)
    changed = vectors.clone()
    changed[:, 6] += 1
    valid = valid_of(9, [9, 9])
    before, after = encoder(vectors, valid), encoder(changed, valid)
    assert torch.equal(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().amax(-1).min() > 1e-6


def test_published_shape_without_biases_in_the_unit():
    encoder = Recurrent(64)
    assert sum(p.numel() for p in encoder.parameters()) == 3 * 128 * (64 + 128) + 128 * 64 + 64
    bound = (6 / (3 * 128 + 64)) ** 0.5
    largest = encoder.unit.weight_ih_l0.abs().max().item()
    assert 0.95 * bound < largest <= bound, "Xavier's uniform distribution over the stacked gates"


def test_without_projection_the_states_are_as_wide_as_the_unit():
    encoder = Recurrent(DIM, hidden=HIDDEN, project=False)
    assert (encoder.input_dim, encoder.dim) == (DIM, HIDDEN)
    assert encoder(torch.randn(2, 3, DIM), valid_of(3, [3, 2])).shape == (2, 3, HIDDEN)


def test_dropout_acts_in_training_alone():
    encoder = Recurrent(DIM, hidden=HIDDEN, dropout=0.5)
    vectors, valid = torch.randn(4, 5, DIM), valid_of(5, [5] * 4)
    assert not torch.equal(encoder(vectors, valid), encoder(vectors, valid))
    encoder.eval()
    assert torch.equal(encoder(vectors, valid), encoder(vectors, valid))


def test_what_it_cannot_read_is_refused():
    encoder = Recurrent(DIM, length=4)
    with pytest.raises(InputError, match=r"Recurrent cannot read a 'bidirectional' context; it reads causal"):
        encoder(torch.randn(1, 3, DIM), valid_of(3, [3]), "bidirectional")
    with pytest.raises(InputError, match="length=4"):
        encoder.last(torch.randn(1, 5, DIM), valid_of(5, [5]))
    for wrong in ({"hidden": 0}, {"layers": 0}, {"length": 0}, {"dropout": 1.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Recurrent(DIM, **wrong)
