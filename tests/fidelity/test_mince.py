"""MINCE by autograd, in closed form, and its bounds."""

import math

import pytest
import torch

from recloom.objectives.mince import mince


def reference(predictions, keys, targets, log_counts, groups, log_sought, scale, inside, single):
    """By autograd, all logits at once."""
    rows, offsets = torch.arange(len(targets)), log_counts[groups]
    offsets[rows, targets] = log_sought
    logits = scale * torch.einsum("rd,qkd->rqk", predictions, keys) + offsets[:, None]
    right = logits[rows, :, targets] - (log_sought[:, None] if single or not inside else 0)
    every = logits.flatten(1).logsumexp(1)
    return (every - (right.logsumexp(1) if inside else right.mean(1))).sum()


@pytest.mark.parametrize("n_groups", [1, 3])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("single", [True, False])
def test_values_and_gradients_in_chunks(inside, single, n_groups, monkeypatch):
    monkeypatch.setattr("recloom.objectives.chunks.LOGITS_PER_CHUNK", 3 * 128 * 4)
    torch.manual_seed(0)
    predictions, keys = torch.randn(7, 4).double().requires_grad_(), torch.randn(3, 5, 4).double().requires_grad_()
    targets, groups = torch.tensor([0, 1, 2, 3, 4, 0, 2]), torch.tensor([0, 0, 1, 2, 2, 2, 1]) % n_groups
    total = torch.tensor([1.0, 2, 1, 5, 3]).double()
    left_out = torch.tensor([[0.0, 0, 0, 0, 0], [0, 2, 1, 1, 0], [1, 0, 0, 5, 3]]).double()[:n_groups]
    counts, sought = (total - left_out).log(), total.log()[targets]
    one = mince(predictions, keys, targets, counts, groups, sought, scale=0.6, inside=inside, single=single)
    two = reference(predictions, keys, targets, counts, groups, sought, 0.6, inside, single)
    torch.testing.assert_close(one, two)
    for a, b in zip(*(torch.autograd.grad(x, (predictions, keys)) for x in (one, two)), strict=True):
        torch.testing.assert_close(a, b)
    if n_groups == 1:
        same = mince(predictions, keys, targets, counts, scale=0.6, inside=inside, single=single)
        assert same.item() == one.item(), "one group, and right answers counted as they stand there"


def test_mixed_precision_rounds_what_comes_in_and_nothing_else():
    torch.manual_seed(0)
    predictions, keys = torch.randn(7, 64, requires_grad=True), torch.randn(3, 20, 64, requires_grad=True)
    targets, counts = torch.randint(0, 20, (7,)), torch.zeros(1, 20)
    rounded = [each.detach().bfloat16().float().requires_grad_() for each in (predictions, keys)]
    wanted = mince(*rounded, targets, counts, scale=0.3)
    with torch.autocast("cpu", torch.bfloat16):
        loss = mince(predictions.bfloat16(), keys.bfloat16(), targets, counts, scale=0.3)
    torch.testing.assert_close(loss, wanted)
    for one, two in zip(
        torch.autograd.grad(loss, (predictions, keys)), torch.autograd.grad(wanted, rounded), strict=True
    ):
        torch.testing.assert_close(one, two, atol=0.01, rtol=0.01)


@pytest.mark.parametrize("inside", [True, False])
def test_products_in_bf16_stay_within_their_rounding(inside):
    torch.manual_seed(0)
    predictions, keys = torch.randn(40, 64, requires_grad=True), torch.randn(3, 200, 64, requires_grad=True)
    targets, counts = torch.randint(0, 200, (40,)), torch.randint(1, 5, (1, 200)).float().log()
    exact, low = (
        mince(predictions, keys, targets, counts, scale=0.3, inside=inside, dtype=dtype)
        for dtype in (None, torch.bfloat16)
    )
    assert low.dtype == torch.float32 and low.item() == pytest.approx(exact.item(), rel=5e-3)
    for one, two in zip(*(torch.autograd.grad(loss, (predictions, keys)) for loss in (exact, low)), strict=True):
        assert two.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(one.flatten(), two.flatten(), 0) > 0.999


def test_closed_forms():
    torch.manual_seed(0)
    targets, once = torch.arange(5), torch.zeros(1, 5)
    zero = torch.zeros(5, 3)
    assert mince(zero, torch.randn(4, 5, 3), targets, once).item() == pytest.approx(5 * math.log(5), rel=1e-6)
    counts = torch.tensor([[4.0, 1, 2, 2, 1]])
    wanted = sum(math.log(10 / k) for k in counts[0].tolist())
    assert mince(zero, torch.randn(4, 5, 3), targets, counts.log()).item() == pytest.approx(wanted, rel=1e-6)
    predictions, keys = torch.randn(5, 3), torch.randn(4, 5, 3)
    inner, outer = (mince(predictions, keys, targets, once, inside=inside) for inside in (True, False))
    assert outer >= inner + 5 * math.log(4)
    alike = keys[:1].expand(4, -1, -1)
    inner, outer = (mince(predictions, alike, targets, once, inside=inside) for inside in (True, False))
    assert (outer - inner).item() == pytest.approx(5 * math.log(4), rel=1e-5)
    assert torch.isfinite(mince(predictions * 1e3, keys, targets, once)), "large products do not overflow"
    doubled = mince(predictions, keys, targets, once, scale=2.0)
    torch.testing.assert_close(doubled, mince(2 * predictions, keys, targets, once))
    order = torch.randperm(5)
    torch.testing.assert_close(
        mince(predictions, keys, targets, once), mince(predictions, keys[:, order], order.argsort(), once)
    )


def test_a_scale_of_nothing_leaves_the_share_of_the_right_answer():
    torch.manual_seed(0)
    predictions, keys = torch.randn(5, 3).double().requires_grad_(), torch.randn(4, 5, 3).double().requires_grad_()
    counts = torch.tensor([[4.0, 1, 2, 2, 1]]).double()
    loss = mince(predictions, keys, torch.arange(5), counts.log(), scale=1e-9)
    assert loss.item() == pytest.approx(sum(math.log(10 / k) for k in counts[0].tolist()), rel=1e-6)
    assert max(grad.abs().max().item() for grad in torch.autograd.grad(loss, (predictions, keys))) < 1e-7


def test_several_right_answers_are_no_worse_than_each_and_bear_one_that_is_far_away():
    torch.manual_seed(0)
    prediction, keys, target, once = torch.randn(1, 3), torch.randn(4, 5, 3), torch.tensor([2]), torch.zeros(1, 5)
    products = keys.flatten(0, 1) @ prediction[0]
    of_each = products.logsumexp(0) - products.view(4, 5)[:, 2]
    assert (mince(prediction, keys, target, once) <= of_each).all()
    assert mince(prediction, keys, target, once, inside=False).item() == pytest.approx(of_each.mean().item(), rel=1e-5)
    keys[:, 2] = keys[0, 2]
    inner, outer = (mince(prediction, keys, target, once, inside=inside).item() for inside in (True, False))
    for away in (1.0, 10.0, 1000.0):
        moved = keys.clone()
        moved[3, 2] -= away * prediction[0] / prediction.square().sum()  # its product is that much smaller
        assert 0 < mince(prediction, moved, target, once).item() - inner <= math.log(4 / 3) + 1e-5
        found = mince(prediction, moved, target, once, inside=False).item() - outer
        assert away / 4 - math.log(4 / 3) - 1e-5 <= found < away / 4


@pytest.mark.parametrize("inside", [True, False])
def test_a_constant_on_all_logits_of_a_row_changes_nothing(inside):
    predictions, keys = torch.randn(5, 4).double(), torch.randn(2, 6, 4).double()
    targets, counts = torch.tensor([0, 3, 3, 5, 1]), torch.rand(1, 6).double()
    before = mince(predictions, keys, targets, counts, inside=inside)
    shifts = torch.cat([predictions, torch.randn(5, 1).double() * 20], 1)
    after = mince(shifts, torch.cat([keys, torch.ones(2, 6, 1).double()], 2), targets, counts, inside=inside)
    torch.testing.assert_close(before, after)
