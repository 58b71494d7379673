"""InfoNCE, CL4SRec and what the contrastive methods share: by loops and closed forms."""

import copy
import math

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import recloom
from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.data.module import window_batch
from recloom.data.windows import prefixes
from recloom.errors import InputError
from recloom.methods.cl4srec import operators
from recloom.methods.duorec import SameTarget
from recloom.nn.row_vectors import real_values
from recloom.objectives import NextItem
from recloom.objectives.info_nce import info_nce, products
from recloom.training import NextItemPrediction


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def pair(n=4, dim=3):
    return torch.randn(n, dim).double(), torch.randn(n, dim).double()


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("among", ["views", "partners"])
def test_info_nce_and_its_gradient_by_loops(similarity, among):
    one, two = (half.requires_grad_() for half in pair())
    same = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    views = [*one, *two]
    if similarity == "cosine":
        views = [v / v.norm() for v in views]
    for mask in (None, same):
        slow = []
        for a in range(8):
            partner = (a + 4) % 8
            kept = [b for b in range(8) if b != a and (b == partner or mask is None or not mask[a % 4, b % 4])]
            kept = [b for b in kept if among == "views" or (a < 4) != (b < 4)]
            total = sum((views[a] @ views[b] / 0.7).exp() for b in kept)
            slow.append(-((views[a] @ views[partner] / 0.7).exp() / total).log())
        wanted = torch.stack(slow).mean()
        found = info_nce(one, two, temperature=0.7, similarity=similarity, same=mask, among=among)
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=0)
        gradients = (torch.autograd.grad(3 * loss, (one, two), retain_graph=True) for loss in (found, wanted))
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["cl4srec", "duorec", "mclrec", "coserec", "iclrec", "srma", "lma4rec"])
def test_a_contrast_that_cannot_be_is_refused_before_training(cycle, name):
    for temperature in (0, -1.0, math.nan):
        with pytest.raises(InputError, match=f"temperature={temperature}"):
            methods.build(name, cycle.catalog, temperature=temperature)
    if "similarity" in methods.arguments(name):
        with pytest.raises(InputError, match="similarity='cos' is not known; choose one of dot, cosine"):
            methods.build(name, cycle.catalog, similarity="cos")


def test_info_nce_refuses_what_it_does_not_know():
    for numbers in ({"temperature": 0.0}, {"similarity": "cos"}, {"among": "pairs"}):
        with pytest.raises(InputError, match=next(iter(numbers))):
            info_nce(*pair(), **numbers)


def test_info_nce_closed_forms():
    zero = torch.zeros(5, 3)
    assert info_nce(zero, zero).item() == pytest.approx(math.log(9))
    one, two = pair()
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(info_nce(one, two), info_nce(two, one))
    torch.testing.assert_close(info_nce(one, two), info_nce(one[order], two[order]))
    assert info_nce(one[:1], two[:1]).item() == pytest.approx(0, abs=1e-12)
    assert info_nce(one, two, same=torch.ones(4, 4, dtype=torch.bool)).item() == pytest.approx(0, abs=1e-12)
    big = torch.randn(6, 3) * 40
    assert torch.isfinite(info_nce(big, big))
    units = [nn.functional.normalize(torch.randn(50, 8), dim=1) for _ in range(2)]
    assert math.log(1 + 98 * math.exp(-2)) <= info_nce(*units).item() <= math.log(1 + 98 * math.exp(2))


def make(name, catalog, **numbers):
    shared = {"dim": 8, "length": 10, "dropout": 0.0, "attention_dropout": 0.0, "precision": "fp32"}
    return methods.build(name, catalog, **{**shared, **numbers})[-1].method


@pytest.fixture
def batch(cycle):
    windows = prefixes(cycle.sequences, cycle.split.train_stop, 10)
    return window_batch(cycle.sequences.items, windows, np.arange(3, 40, 5))


def test_cl4srec_s_loss_by_loops(cycle, batch):
    method = make("cl4srec", cycle.catalog, contrast_weight=0.3, temperature=0.7)
    first = torch.arange(batch.items.shape[1]) == 0
    method.operators = [  # which of the two comes first makes no difference
        lambda items, _: items.masked_fill(~first & (torch.arange(items.shape[1]) > 1), 0),
        lambda items, _: items.masked_fill(first, cycle.catalog.mask_id),
    ]
    one, two = (method.backbone.last(operator(batch.items, None)).double() for operator in method.operators)
    views, losses = [*one, *two], []
    for a in range(len(views)):
        others = [views[a] @ views[b] / 0.7 for b in range(len(views)) if b != a]
        losses.append(torch.stack(others).logsumexp(0) - views[a] @ views[a - len(one)] / 0.7)
    states = method.backbone.last(batch.items)
    scores = states @ method.backbone.items.table()[1:-1].t()
    wanted = torch.nn.functional.cross_entropy(scores, batch.last_targets - 1) + 0.3 * torch.stack(losses).mean()
    torch.testing.assert_close(method.training_step(batch, 0), wanted.float())


FAMILY = ("cl4srec", "coserec", "duorec", "iclrec", "lma4rec", "srma")


@pytest.mark.parametrize("windows", ["prefixes", "whole"])
@pytest.mark.parametrize("name", [*FAMILY, "mclrec"])
def test_the_family_trains_on_prefixes_and_on_whole_histories(cycle, name, windows):
    numbers = {"dim": 8, "length": 10, "epochs": 1, "pretrain_epochs": 1, "windows": windows, "intents": 3}
    numbers = {key: value for key, value in numbers.items() if key in methods.arguments(name)}
    run = recloom.train(name, cycle, progress=False, share=0.2, **numbers)
    losses = run.history.select(pl.col("^loss/.*$")).tail(1).to_dicts()[0]
    assert len(losses) >= 3 and all(math.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("name", FAMILY)
def test_without_contrast_each_is_next_item_prediction(cycle, batch, name):
    """To the loss and the gradient, draws of dropout too: nothing is drawn for a view."""
    weights = {key: 0.0 for key in ("contrast_weight", "intent_weight", "complement_weight")}
    weights = {key: value for key, value in weights.items() if key in methods.arguments(name)}
    method = make(name, cycle.catalog, dropout=0.3, **weights)
    windows = prefixes(cycle.sequences, cycle.split.train_stop, 10)
    method.index = SameTarget(cycle.sequences.items, windows, torch.device("cpu"))  # DuoRec asks for it
    twin = NextItemPrediction(copy.deepcopy(method.backbone), NextItem("softmax", precision="fp32"))
    losses = []
    for each in (method, twin):
        torch.manual_seed(3)
        losses.append(each.train().training_step(batch, 0))
        losses[-1].backward()
    assert torch.equal(*losses) and set(method.epoch_losses()) == {"loss/next_item", "loss/total"}
    for one, two in zip(method.backbone.parameters(), twin.backbone.parameters(), strict=True):
        assert (one.grad is None and two.grad is None) or torch.equal(one.grad, two.grad)


@pytest.mark.parametrize("name", ["cl4srec", "coserec", "duorec"])
def test_without_contrast_it_is_sasrec_run_for_run(cycle, name):
    numbers = {"dim": 8, "length": 10, "epochs": 2, "positions": "from_end", "windows": "whole", "batch_size": 64}
    numbers |= {"attention_dropout": 0.5}
    one = recloom.train(name, cycle, progress=False, contrast_weight=0.0, **numbers).method.state_dict()
    two = recloom.train("sasrec", cycle, progress=False, **numbers).method.state_dict()
    assert two and all(torch.equal(value, one[key]) for key, value in two.items())


def test_each_operator_has_its_own_ratio():
    items, draw = torch.arange(1, 11).repeat(200, 1), torch.Generator().manual_seed(0)
    crop, mask, reorder = (operator(items, draw) for operator in operators(99, 0.2, 0.5, 0.8))
    assert ((crop != 0).sum(1) == 2).all() and ((mask == 99).sum(1) == 5).all()
    assert (reorder != items).sum(1).max() == 8 and torch.equal(reorder.sort(1).values, items)


def test_a_dropped_operator_leaves_two(cycle):
    assert len(make("cl4srec", cycle.catalog, reorder_ratio=0.0).operators) == 2


@pytest.mark.parametrize("name", ["cl4srec", "mclrec", "iclrec", "srma"])
def test_ratios_lie_in_0_to_1_and_leave_enough_operators(cycle, name):
    outside, unknown = r"must lie in 0\.\.1", "is no finite number"
    for ratio, value, said in (("crop", 1.5, outside), ("mask", -0.1, outside), ("reorder", math.nan, unknown)):
        with pytest.raises(InputError, match=rf"{ratio}_ratio=.* {said}"):
            methods.build(name, cycle.catalog, **{f"{ratio}_ratio": value})
    least = {"cl4srec": 2, "mclrec": 2, "iclrec": 1, "srma": 0}[name]
    ratios = ("crop_ratio", "mask_ratio", "reorder_ratio")
    assert methods.build(name, cycle.catalog, **dict.fromkeys(ratios[least:], 0.0))
    if least:
        with pytest.raises(InputError, match=f"the views need at least {least} operators"):
            methods.build(name, cycle.catalog, **dict.fromkeys(ratios[least - 1 :], 0.0))
    if name in ("cl4srec", "iclrec"):  # without a contrast nothing is drawn
        weights = {key: 0.0 for key in ("contrast_weight", "intent_weight") if key in methods.arguments(name)}
        assert methods.build(name, cycle.catalog, **weights, **dict.fromkeys(ratios, 0.0))


@pytest.mark.parametrize(
    ("name", "off", "unread"),
    [
        ("cl4srec", {"contrast_weight": 0.0}, {"temperature": 0.2}),
        ("duorec", {"contrast_weight": 0.0}, {"mask_same_target": True}),
        ("duorec", {"contrast_weight": 0.0}, {"contrast": "un"}),
        ("coserec", {"contrast_weight": 0.0}, {"threshold": 12}),
        ("coserec", {"substitute_ratio": 0.0, "insert_ratio": 0.0}, {"warmup": 5}),
        ("lma4rec", {"substitute_ratio": 0.0, "insert_ratio": 0.0}, {"correlated": 3}),
        ("iclrec", {"intent_weight": 0.0}, {"intents": 3}),
    ],
)
def test_what_is_switched_off_leaves_nothing_unread(cycle, name, off, unread):
    assert methods.build(name, cycle.catalog, **off) and methods.build(name, cycle.catalog, **unread)
    with pytest.raises(InputError, match=f"{next(iter(unread))}=.* has no effect: .*=0 "):
        methods.build(name, cycle.catalog, **off, **unread)


@pytest.mark.parametrize(
    ("name", "numbers", "said"),
    [
        ("coserec", {"threshold": -1}, "threshold=-1"),
        ("coserec", {"warmup": -3}, "warmup=-3"),
        ("lma4rec", {"relaxation": 0.0}, r"relaxation=0\.0 must be above 0"),
        ("srma", {"extra_layers": -1}, "extra_layers=-1 must be 0 or more"),
        ("mclrec", {"dim": 2}, "dim=2: augmenter='mlp'"),
    ],
)
def test_numbers_out_of_range_are_named(cycle, name, numbers, said):
    with pytest.raises(InputError, match=said):
        methods.build(name, cycle.catalog, **numbers)


@pytest.mark.parametrize("name", ["cl4srec", "duorec", "mclrec"])
def test_a_sampled_loss_takes_its_number_of_negatives(cycle, name):
    assert methods.build(name, cycle.catalog, loss="bce", negatives=3)[0].method.next_item.negatives == 3
    with pytest.raises(InputError, match="negatives=3 has no effect"):
        methods.build(name, cycle.catalog, negatives=3)


def test_a_preset_of_mclrec_takes_batches_of_any_rows(cycle):
    groupings = [methods.build("mclrec", cycle.catalog, preset=name)[0].grouping for name in (None, "code", "paper")]
    assert groupings == ["length", "random", "random"]


@pytest.mark.parametrize("rows", [[50, 3, 3, 7, 1, 20, 2, 4], [5, 5, 0, 5], [50, 50, 49], [1]])
def test_products_pass_over_padding_before_the_start_of_a_row(rows):
    draw = torch.Generator().manual_seed(0)
    views = torch.randn(len(rows), 50 * 16, generator=draw, dtype=torch.float64)
    real = torch.tensor(rows) * 16
    for row, length in zip(views, real, strict=True):
        row[: len(row) - length] = 0
    mine, plain = views.clone().requires_grad_(), views.clone().requires_grad_()
    weights = torch.randn(len(rows), len(rows), generator=draw, dtype=torch.float64)
    torch.testing.assert_close(products(mine, real), plain @ plain.t())
    (products(mine, real) * weights).sum().backward()
    ((plain @ plain.t()) * weights).sum().backward()
    torch.testing.assert_close(mine.grad[views != 0], plain.grad[views != 0])
    if len(rows) % 2 == 0:
        found, wanted = (info_nce(*views.chunk(2), temperature=0.7, real=each) for each in (real, None))
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", ["coserec", "iclrec", "srma"])
def test_passing_over_padding_changes_no_loss(cycle, name, monkeypatch):
    numbers = {"dim": 8, "length": 20, "dropout": 0.0, "attention_dropout": 0.0, "precision": "fp32"}
    method = methods.build(name, cycle.catalog, **numbers)[-1].method
    if name == "iclrec":
        method.centres = torch.randn(256, 8)
    if name == "coserec":
        method.partners = torch.arange(cycle.n_items + 2).remainder(cycle.n_items)[:, None] + 1
    items = torch.zeros(6, 20, dtype=torch.int64)
    for row, length in zip(items, [20, 3, 1, 7, 3, 12], strict=True):
        row[:length] = torch.randint(1, cycle.n_items + 1, (length,))
    batch = SequenceBatch(torch.arange(6), items, items.clone())
    counted = []

    def loss(real_values):
        monkeypatch.setattr(f"recloom.methods.{name}.real_values", real_values)
        torch.manual_seed(1)
        method.generator.manual_seed(1)
        return method.training_step(batch, 0)

    found = loss(lambda *arguments: counted.append(real_values(*arguments)) or counted[-1])
    torch.testing.assert_close(found, loss(lambda *arguments: None))
    assert all(0 < count.min() < count.max() <= 20 * 8 for count in counted) and counted
