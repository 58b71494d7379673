"""Moving averages against sums written out."""

import math

import pytest
import torch

from recloom.encoders import Transformer
from recloom.errors import InputError
from recloom.nn.attention import SelfAttention
from recloom.nn.moving_average import AttentionAndAverage, MovingAverage


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_each_channel_is_the_weighted_mean_of_what_it_may_see(causal, training):
    torch.manual_seed(0)
    average = MovingAverage(3, 8).train(training)
    states, lengths = torch.randn(2, 5, 3), [5, 3]
    valid = torch.arange(5) < torch.tensor(lengths)[:, None]
    constants = average.log_constants.tolist()
    with torch.no_grad():
        found, places = average(states, valid, causal), torch.tensor([[4, 1, 0], [2, 1, 0]])
        some = average.at(states, valid, causal, places)
    for row, length in enumerate(lengths):
        for t in range(length):
            for channel in range(3):
                a = math.exp(-1 / math.exp(constants[channel]))
                seen = range(t + 1) if causal else range(length)
                weights = [a ** abs(t - s) for s in seen]
                values = [float(states[row, s, channel]) for s in seen]
                expected = sum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights)
                assert float(found[row, t, channel]) == pytest.approx(expected, abs=1e-5)
        torch.testing.assert_close(some[row], found[row, places[row]])


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 150])
def test_while_training_blocks_of_a_row_give_the_sums_and_gradients_of_all_of_it(length):
    torch.manual_seed(0)
    average, valid = MovingAverage(5, 150).double(), torch.ones(3, length, dtype=torch.bool)
    found = {}
    for training in (True, False):
        states = torch.randn(3, length, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        states.requires_grad_()
        means = average.train(training)(states, valid, True)
        found[training] = means, *torch.autograd.grad(means.sin().sum(), [states, average.log_constants])
    for mine, dense in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(mine, dense)


def test_while_training_no_mean_sees_what_comes_later():
    average = MovingAverage(4, 100)
    states, valid = torch.randn(1, 100, 4), torch.ones(1, 100, dtype=torch.bool)
    later = states.clone()
    later[:, 60:] = torch.randn(1, 40, 4)
    assert torch.equal(average(later, valid, True)[:, :60], average(states, valid, True)[:, :60])


@pytest.mark.parametrize("causal", [True, False])
def test_a_share_of_the_average_stands_beside_the_rest_of_attention(causal):
    torch.manual_seed(0)
    attention, average = SelfAttention(4, 2).eval(), MovingAverage(4, 6)
    states, valid = torch.randn(2, 5, 4), torch.arange(5) < torch.tensor([[5], [3]])
    both, places = AttentionAndAverage(attention, average, 0.3), torch.tensor([[4, 1], [2, 0]])
    wanted = 0.7 * attention(states, states, valid, causal) + 0.3 * average(states, valid, causal)
    torch.testing.assert_close(both(states, states, valid, causal), wanted)
    rows = torch.arange(2)[:, None]
    torch.testing.assert_close(both.at(states[rows, places], states, valid, causal, places), wanted[rows, places])


def test_places_on_padding_far_from_any_item_leave_gradients_finite():
    average, valid = MovingAverage(4, 400), torch.arange(400) < torch.tensor([[1], [400]])
    states = torch.randn(2, 400, 4, requires_grad=True)
    average.at(states, valid, False, torch.tensor([[0, 399], [0, 399]])).sum().backward()
    assert torch.isfinite(states.grad).all() and torch.isfinite(average.log_constants.grad).all()


def test_time_constants_start_from_the_item_itself_to_the_whole_row():
    constants = MovingAverage(64, 50).log_constants.exp().tolist()
    assert constants[0] == pytest.approx(0.5) and constants[-1] == pytest.approx(50) and sorted(constants) == constants


def test_decays_learn():
    average = MovingAverage(4, 6)
    valid = torch.ones(2, 6, dtype=torch.bool)
    (average(torch.randn(2, 6, 4), valid, True) ** 2).sum().backward()
    assert (average.log_constants.grad != 0).all()


def test_a_share_outside_its_range_is_refused():
    with pytest.raises(InputError, match=r"average_share=1\.0"):
        Transformer(16, average_share=1.0)


def test_padding_far_from_any_item_stays_finite():
    average, valid = MovingAverage(2, 200), torch.zeros(1, 200, dtype=torch.bool)
    valid[0, 0] = True
    assert average(torch.randn(1, 200, 2), valid, False).isfinite().all()
