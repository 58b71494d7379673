"""MCLRec's losses, margin and steps: by loops, by hand and by closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import recloom
from recloom import methods
from recloom.data.module import window_batch
from recloom.data.windows import prefixes
from recloom.errors import InputError
from recloom.methods.mclrec import MCLRec
from recloom.nn.augmenters import AUGMENTERS
from recloom.objectives.margin import margin_regulariser
from recloom.views import two_different


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make(name, catalog, **numbers):
    shared = {"dim": 8, "length": 10, "dropout": 0.0, "attention_dropout": 0.0, "precision": "fp32"}
    return methods.build(name, catalog, **shared, **numbers)[0].method


@pytest.fixture
def batch(cycle):
    windows = prefixes(cycle.sequences, cycle.split.train_stop, 10)
    return window_batch(cycle.sequences.items, windows, np.arange(3, 40, 5))


def views(method, batch):
    return torch.cat(two_different(batch.items, method.operators, torch.Generator().manual_seed(1)))


def pair(n=4, dim=3):
    return torch.randn(n, dim).double(), torch.randn(n, dim).double()


def slow_margin(one, two, extrema="row"):
    """The margin score by score; gradients pass through its extrema."""
    views, rows = [*one, *two], []
    for a in range(len(views)):
        partner = (a + len(one)) % len(views)
        negatives = [views[a] @ views[b] for b in range(len(views)) if b not in (a, partner)]
        rows.append((views[a] @ views[partner], torch.stack(negatives)))
    low, high = min(p for p, _ in rows), max(n.max() for _, n in rows)
    up, down = [], []
    for positive, negatives in rows:
        p, m = (positive, negatives.max()) if extrema == "row" else (low, high)
        up.append((positive - torch.minimum(p, m)).clamp(min=0))
        down.append((torch.maximum(p, m) - negatives).clamp(min=0))
    return torch.stack(up).mean() + torch.cat(down).mean()


def slow_contrast(one, two, temperature=1.0):
    """InfoNCE view by view."""
    views, losses = [*one, *two], []
    for a in range(len(views)):
        others = [b for b in range(len(views)) if b != a]
        scores = torch.stack([views[a] @ views[b] for b in others]) / temperature
        losses.append(scores.logsumexp(0) - scores[others.index((a + len(one)) % len(views))])
    return torch.stack(losses).mean()


def same_gradients(found, wanted, parameters):
    """Both losses and what they pass to the parameters agree; None where a parameter has no part."""
    parameters = list(parameters)
    torch.testing.assert_close(found, wanted)
    pairs = (torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True) for loss in (found, wanted))
    for one, two in zip(*pairs, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("extrema", ["row", "global"])
def test_the_margin_and_its_gradient_by_loops(extrema):
    one, two = (torch.randn(4, 3).double().requires_grad_() for _ in range(2))
    same_gradients(margin_regulariser(one, two, extrema=extrema), slow_margin(one, two, extrema), [one, two])


def four_views(positive):
    """Two pairs of views; the products of each with the others are `positive`, 3 and 0."""
    p = positive
    products = torch.tensor([[9, 3, p, 0], [3, 9, 0, p], [p, 0, 9, 3], [0, p, 3, 9]]).double()
    return torch.linalg.cholesky(products).chunk(2)


@pytest.mark.parametrize(("positive", "wanted"), [(1.0, 0 + 1.5), (5.0, 2 + 3.5)])
def test_the_margin_by_hand(positive, wanted):
    for extrema in ("row", "global"):  # alike where all rows have the same positive and the same largest negative
        found = margin_regulariser(*four_views(positive), extrema=extrema)
        assert found.item() == pytest.approx(wanted, rel=1e-12)


def test_the_margin_is_0_where_all_scores_are_equal():
    zero = torch.zeros(5, 3)
    assert margin_regulariser(zero, zero).item() == 0 == margin_regulariser(zero[:1], zero[:1]).item()


def test_where_all_vectors_are_0_each_contrast_is_a_guess_among_the_others(cycle):
    method = make("mclrec", cycle.catalog, normalise=False)
    method.augmenters = nn.ModuleList([nn.Identity(), nn.Identity()])
    learned, margin = method.learned(torch.zeros(5, 8), torch.zeros(5, 8))
    assert learned.item() == pytest.approx(3 * math.log(9)) and margin.item() == 0


def test_with_identity_augmenters_the_learned_contrast_is_three_times_the_random_one(cycle, batch):
    method = make("mclrec", cycle.catalog, normalise=False)
    method.augmenters = nn.ModuleList([nn.Identity(), nn.Identity()])
    one, two = method.backbone.last(views(method, batch)).chunk(2)
    torch.testing.assert_close(method.learned(one, two)[0], 3 * method.contrast(one, two))


def test_the_losses_of_the_code_and_of_the_paper_with_their_gradients(cycle, batch):
    """Gradients reach theta through both ends of every product, through the augmenters and the margin too."""
    for preset in ("code", "paper"):
        weights = {"random_weight": 0.3, "learned_weight": 0.7, "margin_weight": 0.2}
        method = make("mclrec", cycle.catalog, temperature=0.5, preset=preset, **weights)
        for parameter in method.augmenters.parameters():
            parameter.data *= 2  # far enough from 0 that each part is felt
        seen = views(method, batch)
        code = preset == "code"
        states = method.backbone.last(batch.items)
        main = nn.functional.cross_entropy(states @ method.backbone.items.table()[1:-1].t(), batch.last_targets - 1)
        one, two = method.backbone.last(seen).chunk(2)
        first, second = (w(h) for w, h in zip(method.augmenters, (one, two), strict=True))
        if code:
            first, second = (z / z.norm(dim=1, keepdim=True) for z in (first, second))
        pairs = [(one, second), (two, first), (first, second)]
        scale = 1 if code else 2
        contrasts = scale * sum(slow_contrast(*pair, 0.5) for pair in pairs)
        margin = sum(slow_margin(*pair) for pair in pairs) if code else slow_margin(first, second, "global")
        wanted = main + 0.3 * scale * slow_contrast(one, two, 0.5) + 0.7 * (contrasts + 0.2 * margin)
        same_gradients(method.encoder_loss(batch, seen), wanted, method.backbone.parameters())
        gamma = 0.2 if code else 0.2 * 0.7
        same_gradients(method.augmenter_loss(seen), contrasts + gamma * margin, method.augmenters.parameters())
        reached = torch.autograd.grad(method.augmenter_loss(seen), method.backbone.parameters(), allow_unused=True)
        assert all(gradient is None for gradient in reached)
        assert method.choices["schedule"] == ("theta,phi,theta" if code else "theta,phi")


def test_learned_views_of_unit_norm_keep_the_contrast_within_its_bounds(cycle):
    """No contrast of 2B unit vectors lies outside of `ln(1 + (2B - 2) e^(+-2))`; without the norm one does."""
    rows, states = 6, torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)) * 100
    least, most = (math.log1p((2 * rows - 2) * math.exp(gap)) for gap in (-2, 2))
    for normalise in (True, False):
        method = methods.build("mclrec", cycle.catalog, dim=8, length=10, normalise=normalise)[0].method
        for augmenter in method.augmenters:
            for parameter in augmenter.parameters():
                torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            found = float(method.contrast(method.augment(states[0], 0), method.augment(states[1], -1)))
        assert (least <= found <= most) == normalise


def test_augmenters_that_return_0_leave_losses_and_gradients_finite(cycle, batch):
    method = make("mclrec", cycle.catalog)
    for parameter in method.augmenters.parameters():
        parameter.data.zero_()
    seen = views(method, batch)
    for loss in (method.encoder_loss(batch, seen), method.augmenter_loss(seen)):
        reached = torch.autograd.grad(loss, [*method.parameters()], allow_unused=True)
        assert loss.isfinite() and all(gradient is None or gradient.isfinite().all() for gradient in reached)


def test_twice_the_contrast_is_the_sum_of_both_directions(cycle):
    one, two = pair()
    rows = []
    for anchors, others in ((one, two), (two, one)):
        for place, anchor in enumerate(anchors):
            scores = [view @ anchor for view in (*anchors[:place], *anchors[place + 1 :], *others)]
            rows.append(torch.stack(scores).logsumexp(0) - anchor @ others[place])
    found = make("mclrec", cycle.catalog, contrast_scale="sum").contrast(one, two)
    torch.testing.assert_close(found, torch.stack(rows[:4]).mean() + torch.stack(rows[4:]).mean())


class Recorder:
    """Stands in for Lightning: counts steps and says what they changed."""

    def __init__(self, method, monkeypatch):
        self.method, self.log = method, []
        optimizers = method.configure_optimizers()
        for name, optimizer in zip(("theta", "phi"), optimizers, strict=True):
            monkeypatch.setattr(optimizer, "step", self.watch(name, optimizer.step))
        monkeypatch.setattr(MCLRec, "optimizers", lambda _: list(optimizers))
        monkeypatch.setattr(MCLRec, "manual_backward", lambda _, loss: loss.backward())

    def watch(self, name, step):
        def stepped():
            before = [
                [p.detach().clone() for p in part.parameters()]
                for part in (self.method.backbone, self.method.augmenters)
            ]
            step()
            now = [list(part.parameters()) for part in (self.method.backbone, self.method.augmenters)]
            changed = [
                any(not torch.equal(a, b) for a, b in zip(x, y, strict=True)) for x, y in zip(before, now, strict=True)
            ]
            self.log.append((name, *changed))

        return stepped


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("theta,phi,theta", [("theta", True, False), ("phi", False, True), ("theta", True, False)]),
        ("theta,phi", [("theta", True, False), ("phi", False, True)]),
        ("joint", [("theta", True, False), ("phi", False, True)]),
    ],
)
def test_each_step_changes_its_own_side_alone(cycle, batch, monkeypatch, schedule, wanted):
    method = make("mclrec", cycle.catalog, schedule=schedule)
    recorder = Recorder(method, monkeypatch)
    method.training_step(batch, 0)
    assert recorder.log == wanted


def test_the_steps_of_a_batch_see_the_same_two_views(cycle, batch, monkeypatch):
    method = make("mclrec", cycle.catalog)
    Recorder(method, monkeypatch)
    last, seen = method.backbone.last, []
    monkeypatch.setattr(method.backbone, "last", lambda items: seen.append(items.clone()) or last(items))
    method.training_step(batch, 0)
    views = [items for items in seen if len(items) == 2 * len(batch.items)]
    assert len(views) == 3
    assert all(torch.equal(views[0], later) for later in views[1:])
    method.training_step(batch, 1)
    assert not torch.equal(views[0], seen[-1])


@pytest.mark.parametrize(
    ("epoch", "wanted"), [(0, ("theta", True, False)), (1, ("phi", False, True)), (2, ("theta", True, False))]
)
def test_by_epochs_each_side_trains_while_the_other_rests(cycle, batch, monkeypatch, epoch, wanted):
    method = make("mclrec", cycle.catalog, schedule="epochs")
    monkeypatch.setattr(type(method), "current_epoch", epoch)
    recorder = Recorder(method, monkeypatch)
    method.training_step(batch, 0)
    method.training_step(batch, 1)
    assert recorder.log == [wanted, wanted]


def test_an_epoch_of_the_augmenters_leaves_validation_as_it_is(cycle):
    history = recloom.train("mclrec", cycle, schedule="epochs", epochs=3, dim=8, length=10, progress=False).history
    first, second, third = history["valid/NDCG@10"]
    assert first == second != third
    assert [value is None for value in history["loss/next_item"]] == [False, True, False]
    assert [value is None for value in history["loss/augmenters"]] == [True, False, True]


@pytest.mark.parametrize(("schedule", "steps"), [("theta,phi,theta", 2), ("theta,phi", 1), ("joint", 1)])
def test_without_contrasts_mclrec_is_sasrec_with_as_many_steps_a_batch(cycle, batch, monkeypatch, schedule, steps):
    method = make("mclrec", cycle.catalog, random_weight=0.0, learned_weight=0.0, schedule=schedule)
    twin = make("sasrec", cycle.catalog, windows="prefixes")
    twin.load_state_dict({k: v for k, v in method.state_dict().items() if k.startswith("backbone")})
    before = [parameter.detach().clone() for parameter in method.augmenters.parameters()]
    Recorder(method, monkeypatch)
    method.training_step(batch, 0)
    optimizer = twin.configure_optimizers()
    for _ in range(steps):
        twin.zero_grad()
        twin.training_step(batch, 0).backward()
        optimizer.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(value, method.state_dict()[name])
    moved = any(not torch.equal(a, b) for a, b in zip(before, method.augmenters.parameters(), strict=True))
    assert moved == ("phi" in schedule), "the augmenters' own step is left"


def test_with_one_step_a_batch_and_no_contrast_it_is_sasrec_run_for_run(cycle):
    """To the bit, without dropout, which the augmenters' step would draw too."""
    shared = {"dim": 8, "length": 10, "dropout": 0.0, "attention_dropout": 0.0, "windows": "prefixes", "epochs": 2}
    weights = {"random_weight": 0.0, "learned_weight": 0.0, "schedule": "theta,phi"}
    one = recloom.train("mclrec", cycle, progress=False, **shared, **weights).method.state_dict()
    two = recloom.train("sasrec", cycle, progress=False, **shared).method.state_dict()
    assert two and all(torch.equal(value, one[name]) for name, value in two.items())


def test_a_shared_augmenter_is_one_module_and_sizes_are_the_paper_s(cycle):
    shared = methods.build("mclrec", cycle.catalog, shared=True)[0].method
    apart = methods.build("mclrec", cycle.catalog)[0].method
    count = [sum(p.numel() for p in method.augmenters.parameters()) for method in (shared, apart)]
    assert count == [3696, 2 * 3696]
    states = torch.randn(5, 64)
    assert torch.equal(shared.augment(states, 0), shared.augment(states, -1))
    assert not torch.equal(apart.augment(states, 0), apart.augment(states, -1))


@pytest.mark.parametrize("augmenter", list(AUGMENTERS))
@pytest.mark.parametrize("model", ["sasrec", "gru4rec"])
def test_any_augmenter_over_any_model_trains(cycle, augmenter, model):
    run = recloom.train(
        "mclrec", cycle, progress=False, dim=8, length=10, epochs=1, augmenter=augmenter, model=model, windows="whole"
    )
    assert np.isfinite(run.history["loss/total"].to_numpy()).all()
    assert [type(each) for each in run.method.augmenters] == [AUGMENTERS[augmenter]] * 2


def test_wrong_choices_are_refused(cycle):
    for numbers, message in (
        ({"preset": "ours"}, "paper"),
        ({"schedule": "phi"}, "theta,phi"),
        ({"augmenter": "cnn"}, "convolution"),
        ({"model": "bert4rec"}, "gru4rec"),
    ):
        with pytest.raises(InputError, match=message):
            methods.build("mclrec", cycle.catalog, **numbers)
    for model in ("gru4rec", "caser"):
        for name, value in (("layers", 3), ("heads", 4), ("attention_dropout", 0.0), ("block", "original")):
            with pytest.raises(InputError, match=f"{name}=.*model='{model}' reads dim, length, dropout alone"):
                methods.build("mclrec", cycle.catalog, model=model, **{name: value})
        made = methods.build("mclrec", cycle.catalog, model=model, dim=8, length=6, dropout=0.1, layers=2)[0].method
        assert (made.backbone.encoder.dim, made.length, made.backbone.encoder.dropout) == (8, 6, 0.1)
