"""CoSeRec: who is whose partner, which operators a history sees, its loss; LMA4Rec's learnt rates."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import recloom
from recloom import methods
from recloom.data.correlation import correlated_items
from recloom.data.module import window_batch
from recloom.data.windows import whole
from recloom.errors import InputError
from recloom.methods.coserec import OPERATORS
from recloom.methods.lma4rec import LearnedDropout
from recloom.objectives.info_nce import info_nce

SMALL = {"dim": 8, "length": 10, "dropout": 0.0, "attention_dropout": 0.0, "precision": "fp32"}


def make(catalog, name="coserec", **numbers):
    torch.manual_seed(0)
    return methods.build(name, catalog, **{**SMALL, **numbers})[0].method


def ready(method, partners):
    """The method with the partners given, as after `on_fit_start`."""
    ids = torch.tensor(partners).view(len(partners), -1)
    method.by_actions = ids, torch.linspace(0, 1, ids.numel()).view(ids.shape)
    method.partners = method.whole(method.by_actions[0])
    return method


def shifted(n=32):
    """Every item's partner is the next one; padding, mask and the last have none."""
    return [0, *range(2, n - 1), 0, 0]


def test_short_histories_see_three_operators_and_long_ones_five(cycle):
    method = ready(make(cycle.catalog, threshold=4, crop_ratio=0.5, mask_ratio=0.5, reorder_ratio=1.0), shifted())
    kinds = {}
    for length in (4, 8):
        items = torch.arange(1, 2 * length + 1, 2).repeat(4000, 1)  # odd items: partners are even
        found = method.views(items)
        lengths, even = (found != 0).sum(1), ((found % 2 == 0) & (found != 0) & (found != 31)).sum(1)
        inserted, cropped, masked = lengths > length, lengths < length, (found == 31).any(1)
        exchanged = (even > 0) & (lengths == length)
        kept = F.pad(items, (0, found.shape[1] - length))
        moved = (found != kept).any(1) & ~(inserted | cropped | masked | exchanged)
        kinds[length] = [part.double().mean().item() for part in (exchanged, inserted, masked, cropped, moved)]
    assert kinds[4] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0], abs=0.03)
    assert kinds[8] == pytest.approx([0.2] * 5, abs=0.03)


@pytest.mark.parametrize("alone", OPERATORS)
def test_each_operator_has_its_own_ratio_and_one_of_0_is_left_out(cycle, alone):
    ratios = {f"{name}_ratio": 0.5 * (name == alone) for name in OPERATORS}
    threshold = 0 if alone in ("crop", "reorder") else 4
    method = ready(make(cycle.catalog, length=12, threshold=threshold, **ratios), shifted())
    for length in (4, 8):
        items, half = torch.arange(1, 2 * length + 1, 2).repeat(100, 1), length // 2
        found = method.views(items)
        lengths, masked, even = (part.sum(1) for part in (found != 0, found == 31, (found != 0) & (found % 2 == 0)))
        assert (lengths == length + half * ((alone == "insert") - (alone == "crop"))).all()
        assert (masked == half * (alone == "mask")).all()
        assert (even == half * (alone in ("substitute", "insert"))).all()
        if alone not in ("insert", "crop"):
            assert (found != items).sum(1).max() == half


def test_a_row_too_short_for_the_ratio_has_one_item_inserted(cycle):
    ratios = {f"{name}_ratio": 0.4 * (name == "insert") for name in OPERATORS}
    method = ready(make(cycle.catalog, **ratios), shifted())
    assert {tuple(row) for row in method.views(torch.tensor([[3, 5]] * 50)).tolist()} == {(4, 3, 5), (3, 6, 5)}


def test_short_histories_need_an_operator(cycle):
    gentle = {"substitute_ratio": 0.0, "insert_ratio": 0.0, "mask_ratio": 0.0}
    with pytest.raises(InputError, match="threshold=4 items need an operator: give one of substitute_ratio, insert"):
        make(cycle.catalog, **gentle)
    assert make(cycle.catalog, threshold=0, **gentle) and make(cycle.catalog, contrast_weight=0.0, **gentle)
    with pytest.raises(InputError, match=r"views need an operator.*reorder_ratio"):
        make(cycle.catalog, threshold=0, crop_ratio=0.0, reorder_ratio=0.0, **gentle)


def test_items_are_correlated_over_training_actions_alone(cycle):
    run = recloom.train("coserec", cycle, progress=False, epochs=1, **SMALL)
    training = cycle.sequences.before(cycle.split.train_stop)
    ids, _ = correlated_items(cycle.sequences.users[training], cycle.sequences.items[training], cycle.n_items)
    assert run.method.partners.tolist() == run.method.whole(torch.from_numpy(ids)).tolist()
    assert training.sum() == len(training) - 2 * cycle.n_users


def test_the_better_of_two_partners(cycle):
    method = ready(make(cycle.catalog), shifted())
    table = method.backbone.items.weight.data.normal_()
    found = method.hybrid()[:, 0]
    products = table @ table.t()
    near, best = torch.zeros(32, dtype=torch.int64), torch.zeros(32)
    for item in range(1, 31):
        others = [j for j in range(1, 31) if j != item]
        near[item] = max(others, key=lambda j: products[item, j].item())
        best[item] = products[item, near[item]]
    ids, scores = (part[:, 0] for part in method.by_actions)
    real = [i for i in range(1, 31) if ids[i]]
    low, high = (min(best[i].item() for i in real), max(best[i].item() for i in real))
    lower, upper = (min(scores[i].item() for i in real), max(scores[i].item() for i in real))
    for item in real:
        by_vectors = (best[item].item() - low) / (high - low)
        by_actions = (scores[item].item() - lower) / (upper - lower)
        assert found[item] == (near[item] if by_vectors > by_actions else ids[item])
    assert ids[30] == 0 and found[30] == near[30], "an item without company by actions has one by its vector"
    assert found[0] == 0 and found[31] == 31


def test_each_place_has_one_of_the_best_partners_by_lot(cycle):
    method = make(cycle.catalog, correlated=3, substitute_ratio=1.0, insert_ratio=0, mask_ratio=0, threshold=20)
    method = ready(method, [[0, 0, 0], [5, 6, 7], [8, 0, 0], *[[0, 0, 0]] * 29])
    found = method.views(torch.tensor([[1, 2, 3, 1]]).repeat(6000, 1))
    assert set(found[:, 1].tolist()) == {8} and set(found[:, 2].tolist()) == {3}, "its first again, or itself"
    drawn = torch.bincount((found[:, 0] - 5) * 3 + found[:, 3] - 5, minlength=9) / 6000
    assert len(drawn) == 9 and (drawn - 1 / 9).abs().max() < 0.02, "5, 6 or 7, each place for itself"
    table = method.backbone.items.weight.data.normal_()
    products = (table @ table.t())[1:31, 1:31].fill_diagonal_(-torch.inf)
    assert method.hybrid()[4].tolist() == (products[3].topk(3).indices + 1).tolist(), "item 4 has none by actions"
    for wrong in (0, 30):
        with pytest.raises(InputError, match=f"correlated={wrong} must be at least 1"):
            make(cycle.catalog, correlated=wrong)


def test_more_partners_come_from_the_actions_and_then_from_the_vectors(cycle):
    run = recloom.train("coserec", cycle, progress=False, epochs=2, warmup=1, correlated=2, **SMALL)
    assert run.method.partners.shape == run.method.by_actions[0].shape == (32, 2)
    assert (run.method.partners[1:31] != torch.arange(1, 31)[:, None]).all()


def test_the_loss_is_softmax_and_the_contrast_of_two_views(cycle):
    method = ready(make(cycle.catalog, contrast_weight=0.3, temperature=0.7, contrast_on="flat"), shifted())
    windows = whole(cycle.sequences, cycle.split.train_stop, 10)
    batch = window_batch(cycle.sequences.items, windows, np.arange(6))
    method.generator.manual_seed(1)
    loss = method.training_step(batch, 0)
    method.generator.manual_seed(1)
    flat = []
    for _ in range(2):
        view = method.views(batch.items)
        states, lengths = method.backbone(view), (view != 0).sum(1)
        flat.append(
            torch.stack([F.pad(s[:n], (0, 0, 10 - n, 0)).flatten() for s, n in zip(states, lengths, strict=True)])
        )
    states, real = method.backbone(batch.items), batch.targets != 0
    main = F.cross_entropy(states[real] @ method.backbone.items.table()[1:-1].t(), batch.targets[real] - 1)
    torch.testing.assert_close(loss, main + 0.3 * info_nce(*flat, temperature=0.7))


def test_after_the_warm_up_partners_follow_the_vectors(cycle, monkeypatch):
    epochs = []
    monkeypatch.setattr(
        "recloom.methods.coserec.CoSeRec.hybrid", lambda self: epochs.append(self.current_epoch) or self.partners
    )
    recloom.train("coserec", cycle, progress=False, epochs=4, warmup=2, **SMALL)
    assert epochs == [2, 3]
    recloom.train("coserec", cycle, progress=False, epochs=2, **SMALL)
    assert epochs == [2, 3]


def test_items_that_none_goes_with_follow_the_vectors_of_trained_items(cycle):
    counts = cycle.catalog.train_counts.copy()
    counts[7] = 0
    method = ready(make(replace(cycle.catalog, train_counts=counts)), [0] * 32)
    vectors = method.backbone.items.weight.data
    vectors[7] = 9 * vectors[3]
    products = (vectors @ vectors.t()).fill_diagonal_(-torch.inf)
    assert products[3].argmax() == 7, "the nearest, and untrained"
    products[:, [0, 7, 31]] = -torch.inf
    wanted = products.argmax(1)
    wanted[[0, 7, 31]] = torch.tensor([0, 7, 31])
    assert torch.equal(method.hybrid()[:, 0], wanted)


def test_learnt_rates_draw_as_they_say_and_their_mean_serves():
    torch.manual_seed(0)
    drop = LearnedDropout(0.3, 1e-3)
    found = drop(torch.ones(200_000))
    assert (
        found.mean().item() == pytest.approx(0.7, abs=0.005)
        and ((found < 1e-3) | (found > 1 - 1e-3)).double().mean() > 0.99
    )
    drop.eval()
    assert drop(torch.ones(3)).tolist() == pytest.approx([0.7] * 3)
    soft = LearnedDropout(0.3, 0.5)
    soft(torch.ones(100)).sum().backward()
    assert soft.logit.grad > 0, "keeping more makes the sum larger"


def test_lma4rec_learns_its_rates_and_starts_from_sasrec_s_weights(cycle):
    numbers = {**SMALL, "dropout": 0.4, "epochs": 3, "batch_size": 64, "lr": 1e-2}
    before = make(cycle.catalog, "lma4rec", dropout=0.4)
    started = make(cycle.catalog, "sasrec", dropout=0.4, positions="from_end").state_dict()
    assert started and all(torch.equal(value, before.state_dict()[name]) for name, value in started.items())
    rates = [1 - m.logit.sigmoid().item() for m in before.modules() if isinstance(m, LearnedDropout)]
    assert rates == pytest.approx([0.4] * 4), "two sub-layers in each of two layers"
    run = recloom.train("lma4rec", cycle, progress=False, **numbers)
    after = [1 - m.logit.sigmoid().item() for m in run.method.modules() if isinstance(m, LearnedDropout)]
    assert all(0 < rate < 1 for rate in after) and min(abs(a - 0.4) for a in after) > 1e-4
    with pytest.raises(InputError, match=r"dropout=0\.0"):
        make(cycle.catalog, "lma4rec")


def test_what_does_not_fit_is_refused(cycle):
    for numbers, message in (({"contrast_on": "sum"}, "contrast_on='sum'"), ({"mask_ratio": 1.5}, "mask_ratio=1.5")):
        with pytest.raises(InputError, match=message):
            make(cycle.catalog, **numbers)
