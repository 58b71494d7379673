"""Dropout keeps the right share, keeps the mean, and is attention's too."""

import pytest
import torch
import torch.nn.functional as F

from recloom.nn import SelfAttention
from recloom.nn.dropout import dropout


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
def test_zeroes_the_asked_share_independently_and_keeps_the_mean(rate):
    torch.manual_seed(0)
    ones = torch.ones(1000, 999)
    dropped = dropout(ones, rate, True)
    zero = (dropped == 0).double()
    assert abs(zero.mean() - rate) < 0.003
    assert dropped.max() == pytest.approx(1 / (1 - rate))
    assert abs(dropped.mean() - 1) < 0.01
    for shift in (1, 2, 3, 4):  # four values come from one draw
        together = (zero.flatten()[:-shift] * zero.flatten()[shift:]).mean()
        assert abs(together - rate**2) < 0.004


def test_gradient_passes_where_values_do():
    torch.manual_seed(0)
    values = torch.randn(30, 7, requires_grad=True)
    dropped = dropout(values, 0.3, True)
    dropped.sum().backward()
    torch.testing.assert_close(values.grad, (dropped != 0) / 0.7)


def test_is_off_in_evaluation_and_at_rate_0_and_follows_the_seed():
    values = torch.randn(5, 3)
    assert dropout(values, 0.5, False) is values and dropout(values, 0.0, True) is values
    torch.manual_seed(3)
    one = dropout(values, 0.5, True)
    torch.manual_seed(3)
    assert torch.equal(one, dropout(values, 0.5, True))


@pytest.mark.parametrize("causal", [True, False])
def test_attention_with_dropout_is_attention_on_average(causal):
    torch.manual_seed(0)
    attention = SelfAttention(8, 2, dropout=0.4)
    states = torch.randn(2, 5, 8)
    valid = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    with torch.no_grad():
        mean = torch.stack([attention.train()(states, states, valid, causal) for _ in range(4000)]).mean(0)
        exact = attention.eval()(states, states, valid, causal)
    assert F.l1_loss(mean[valid], exact[valid]) < 0.02
