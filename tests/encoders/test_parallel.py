"""Two encoders side by side: each sees its own part, and both are joined."""

import pytest
import torch

from recloom.encoders import Encoder, Parallel, Recurrent, Transformer
from recloom.errors import InputError

ONE, TWO = 8, 6


def valid_of(longest, lengths):
    return torch.arange(longest) < torch.tensor(lengths)[:, None]


@pytest.fixture
def parallel():
    torch.manual_seed(0)
    first, second = Transformer(ONE, length=12, std=0.3), Recurrent(TWO, hidden=7, length=10)
    return Parallel(first, second, norm=True, dropout=0.5, std=0.5).eval()


def test_it_is_the_joined_states_of_its_parts(parallel):
    vectors, valid = torch.randn(3, 9, ONE + TWO), valid_of(9, [9, 4, 1])
    one, two = parallel.first(vectors[..., :ONE], valid), parallel.second(vectors[..., ONE:], valid)
    joined = one @ parallel.join.weight[:, :ONE].t() + two @ parallel.join.weight[:, ONE:].t() + parallel.join.bias
    normal = (joined - joined.mean(-1, keepdim=True)) / joined.var(-1, unbiased=False, keepdim=True).sqrt()
    torch.testing.assert_close(parallel(vectors, valid), normal, rtol=1e-4, atol=1e-5)


def test_last_uses_the_parts_own_last(parallel, monkeypatch):
    vectors, valid = torch.randn(3, 9, ONE + TWO), valid_of(9, [9, 4, 1])
    wanted = parallel(vectors, valid)[[0, 1, 2], [8, 3, 0]]
    for part in (parallel.first, parallel.second):
        monkeypatch.setattr(part, "forward", None)
    torch.testing.assert_close(parallel.last(vectors, valid), wanted)


def test_its_shape_is_that_of_its_parts(parallel):
    assert (parallel.input_dim, parallel.dim, parallel.length) == (ONE + TWO, ONE, 10)
    assert Parallel(Recurrent(ONE), Recurrent(TWO, project=False), dim=5).dim == 5


def test_it_reads_what_both_can_read(parallel):
    assert parallel.contexts == {"causal"} and Encoder.__dict__.get("contexts") is None
    with pytest.raises(InputError, match="Parallel cannot read a 'bidirectional' context"):
        parallel.last(torch.randn(1, 3, ONE + TWO), valid_of(3, [3]), "bidirectional")
    both = Parallel(Transformer(ONE), Transformer(ONE)).eval()
    assert both.contexts == {"causal", "bidirectional"}
    vectors, valid = torch.randn(1, 4, 2 * ONE), valid_of(4, [4])
    seen = [both(vectors, valid, context)[0, 0] for context in ("causal", "bidirectional")]
    assert not torch.allclose(*seen)


def test_parts_without_a_common_context_and_impossible_rates_are_refused():
    first, second = Recurrent(ONE), Transformer(ONE)
    second.contexts = frozenset({"bidirectional"})
    with pytest.raises(InputError, match=r"Recurrent reads causal and Transformer reads bidirectional"):
        Parallel(first, second)
    with pytest.raises(InputError, match="dropout"):
        Parallel(Recurrent(ONE), Recurrent(ONE), dropout=-0.1)


def test_dropout_acts_on_the_joined_states_in_training_alone(parallel):
    vectors, valid = torch.randn(40, 9, ONE + TWO), valid_of(9, [9] * 40)
    assert (parallel(vectors, valid) != 0).all()
    dropped = (parallel.train()(vectors, valid) == 0).float().mean()
    assert dropped == pytest.approx(0.5, abs=0.05)
