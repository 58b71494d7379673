"""InfoNCE, MCLRec's margin and its steps, DuoRec's positives, CL4SRec: by loops and closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import recloom
from recloom import methods
from recloom.data.module import TrainingBatches, window_batch
from recloom.data.windows import prefixes
from recloom.errors import InputError
from recloom.methods.duorec import SameTarget
from recloom.methods.mclrec import MCLRec
from recloom.nn.augmenters import AUGMENTERS
from recloom.objectives.info_nce import info_nce
from recloom.objectives.margin import margin_regulariser


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def pair(n=4, dim=3):
    return torch.randn(n, dim).double(), torch.randn(n, dim).double()


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_info_nce_by_loops(similarity):
    one, two = pair()
    same = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    views = [*one, *two]
    if similarity == "cosine":
        views = [v / v.norm() for v in views]
    for mask in (None, same):
        slow = []
        for a in range(8):
            partner = (a + 4) % 8
            kept = [b for b in range(8) if b != a and (b == partner or mask is None or not mask[a % 4, b % 4])]
            total = sum(math.exp(float(views[a] @ views[b]) / 0.7) for b in kept)
            slow.append(-math.log(math.exp(float(views[a] @ views[partner]) / 0.7) / total))
        found = info_nce(one, two, temperature=0.7, similarity=similarity, same=mask)
        assert found.item() == pytest.approx(np.mean(slow), rel=1e-10)


@pytest.mark.parametrize("name", ["cl4srec", "duorec", "mclrec", "coserec", "iclrec", "srma", "lma4rec"])
def test_a_contrast_that_cannot_be_is_refused_before_training(cycle, name):
    for temperature in (0, -1.0, math.nan):
        with pytest.raises(InputError, match=f"temperature={temperature}"):
            methods.build(name, cycle.catalog, temperature=temperature)
    if "similarity" in methods.arguments(name):
        with pytest.raises(InputError, match="similarity='cos' is not known; choose one of dot, cosine"):
            methods.build(name, cycle.catalog, similarity="cos")


def test_info_nce_refuses_what_it_does_not_know():
    for numbers in ({"temperature": 0.0}, {"similarity": "cos"}):
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
    big = torch.randn(6, 3) * 40
    assert torch.isfinite(info_nce(big, big))
    units = [nn.functional.normalize(torch.randn(50, 8), dim=1) for _ in range(2)]
    assert math.log(1 + 98 * math.exp(-2)) <= info_nce(*units).item() <= math.log(1 + 98 * math.exp(2))


@pytest.mark.parametrize("extrema", ["row", "global"])
def test_the_margin_by_loops(extrema):
    one, two = pair()
    views = torch.cat([one, two])
    rows = []
    for a in range(8):
        partner = (a + 4) % 8
        rows.append(
            (float(views[a] @ views[partner]), [float(views[a] @ views[b]) for b in range(8) if b not in (a, partner)])
        )
    low, high = min(p for p, _ in rows), max(max(n) for _, n in rows)
    up, down = [], []
    for positive, negatives in rows:
        p, m = (positive, max(negatives)) if extrema == "row" else (low, high)
        up.append(max(positive - min(p, m), 0))
        down += [max(max(p, m) - n, 0) for n in negatives]
    assert margin_regulariser(one, two, extrema=extrema).item() == pytest.approx(np.mean(up) + np.mean(down), rel=1e-10)


def test_the_margin_is_0_where_all_scores_are_equal():
    zero = torch.zeros(5, 3)
    assert margin_regulariser(zero, zero).item() == 0 == margin_regulariser(zero[:1], zero[:1]).item()


def make(name, catalog, **numbers):
    shared = {"dim": 8, "length": 10, "dropout": 0.0, "attention_dropout": 0.0, "precision": "fp32"}
    return methods.build(name, catalog, **shared, **numbers)[0].method


@pytest.fixture
def batch(cycle):
    windows = prefixes(cycle.sequences, cycle.split.train_stop, 10)
    return window_batch(cycle.sequences.items, windows, np.arange(3, 40, 5))


def views(method, batch):
    from recloom.views import two_different

    return torch.cat(two_different(batch.items, method.operators, torch.Generator().manual_seed(1)))


def test_with_identity_augmenters_the_learned_contrast_is_three_times_the_random_one(cycle, batch):
    method = make("mclrec", cycle.catalog, normalise=False)
    method.augmenters = nn.ModuleList([nn.Identity(), nn.Identity()])
    one, two = method.backbone.last(views(method, batch)).chunk(2)
    torch.testing.assert_close(method.learned(one, two)[0], 3 * method.contrast(one, two))


def test_the_encoder_s_loss_is_the_sum_of_the_paper_and_the_presets_differ_as_said(cycle, batch):
    method = make("mclrec", cycle.catalog, random_weight=0.3, learned_weight=0.2)
    seen = views(method, batch)
    one, two = method.backbone.last(seen).chunk(2)
    first, second = (nn.functional.normalize(w(h), dim=1) for w, h in zip(method.augmenters, (one, two), strict=True))
    contrasts = info_nce(one, second) + info_nce(two, first) + info_nce(first, second)
    margins = sum(margin_regulariser(*p) for p in ((one, second), (two, first), (first, second)))
    states = method.backbone.last(batch.items)
    targets = batch.targets[torch.arange(len(batch)), batch.lengths - 1]
    main = nn.functional.cross_entropy(states @ method.backbone.items.table()[1:-1].t(), targets - 1)
    wanted = main + 0.3 * info_nce(one, two) + 0.2 * (contrasts + 0.1 * margins)
    torch.testing.assert_close(method.encoder_loss(batch, seen), wanted)
    torch.testing.assert_close(method.augmenter_loss(seen), contrasts + 0.1 * margins)

    paper = make("mclrec", cycle.catalog, preset="paper", learned_weight=0.2)
    paper.load_state_dict(method.state_dict())
    first, second = (w(h) for w, h in zip(paper.augmenters, (one, two), strict=True))
    contrasts = 2 * (info_nce(one, second) + info_nce(two, first) + info_nce(first, second))
    margin = margin_regulariser(first, second, extrema="global")
    torch.testing.assert_close(paper.augmenter_loss(seen), contrasts + 0.1 * 0.2 * margin)
    assert paper.choices["schedule"] == "theta,phi"

    warm = make("mclrec", cycle.catalog, random_weight=0.3, learned_weight=0.2, temperature=0.5)
    warm.load_state_dict(method.state_dict())
    first, second = (nn.functional.normalize(w(h), dim=1) for w, h in zip(warm.augmenters, (one, two), strict=True))
    contrasts = sum(info_nce(*p, temperature=0.5) for p in ((one, second), (two, first), (first, second)))
    wanted = main + 0.3 * info_nce(one, two, temperature=0.5) + 0.2 * (contrasts + 0.1 * margins)
    torch.testing.assert_close(warm.encoder_loss(batch, seen), wanted)


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


def test_the_random_contrast_does_not_reach_the_augmenters(cycle, batch):
    grads = []
    for weight in (0.0, 5.0):
        torch.manual_seed(0)
        method = make("mclrec", cycle.catalog, random_weight=weight)
        method.augmenter_loss(views(method, batch)).backward()
        assert all(p.grad is None for p in method.backbone.parameters())
        grads.append([p.grad for p in method.augmenters.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_without_contrasts_mclrec_is_sasrec_with_two_steps_a_batch(cycle, batch, monkeypatch):
    method = make("mclrec", cycle.catalog, random_weight=0.0, learned_weight=0.0)
    twin = make("sasrec", cycle.catalog, windows="prefixes")
    twin.load_state_dict({k: v for k, v in method.state_dict().items() if k.startswith("backbone")})
    Recorder(method, monkeypatch)
    method.training_step(batch, 0)
    optimizer = twin.configure_optimizers()
    for _ in range(2):
        twin.zero_grad()
        twin.training_step(batch, 0).backward()
        optimizer.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(value, method.state_dict()[name])


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
    with pytest.raises(InputError, match="us_x"):
        methods.build("duorec", cycle.catalog, contrast="both")


def test_partners_have_the_same_target_are_others_and_are_drawn_alike(cycle):
    windows = prefixes(cycle.sequences, cycle.split.train_stop, 10)
    index = SameTarget(cycle.sequences.items, windows, torch.device("cpu"))
    batch = next(iter(TrainingBatches(cycle.sequences.items, windows, batch_size=64)))
    targets = batch.targets[torch.arange(len(batch)), batch.lengths - 1]
    known = {}
    for user, start, stop in zip(windows.users, windows.start, windows.stop, strict=True):
        target = int(cycle.sequences.items[stop - 1])
        known.setdefault(target, {})[tuple(cycle.sequences.items[start : stop - 1].tolist()), int(user)] = None
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        found = index.draw(batch.users, batch.items, targets, generator)
        for user, target, partner in zip(batch.users.tolist(), targets.tolist(), found, strict=True):
            row = tuple(partner[partner > 0].tolist())
            assert row in {rows for rows, owner in known[target] if owner != user}
    one = batch.users[:1].repeat(20_000), batch.items[:1].repeat(20_000, 1), targets[:1].repeat(20_000)
    many = index.draw(*one, generator)
    others = [rows for rows, owner in known[int(targets[0])] if owner != int(batch.users[0])]
    lengths = torch.bincount((many > 0).sum(1), minlength=12).double() / 20_000
    wanted = torch.bincount(torch.tensor([len(rows) for rows in others]), minlength=12).double() / len(others)
    assert (lengths - wanted).abs().max() < 0.015


def test_a_target_nobody_else_has_gives_the_row_itself(cycle):
    items = np.array([1, 2, 3, 4, 5, 6], dtype=np.int32)
    from recloom.data.windows import Windows

    windows = Windows(*(np.array(x) for x in ([0, 1], [0, 3], [3, 6], [2, 5])))
    index = SameTarget(items, windows, torch.device("cpu"))
    rows = torch.tensor([[1, 2], [4, 5]])
    found = index.draw(torch.tensor([0, 1]), rows, torch.tensor([3, 6]), torch.Generator().manual_seed(0))
    assert torch.equal(found, rows)


@pytest.mark.parametrize("contrast", ["us_x", "us", "un", "su"])
def test_duorec_s_terms(cycle, batch, contrast):
    method = make("duorec", cycle.catalog, contrast=contrast)
    windows = prefixes(cycle.sequences, cycle.split.train_stop, 10)
    method.index = SameTarget(cycle.sequences.items, windows, torch.device("cpu"))
    method.generator.manual_seed(4)
    method.training_step(batch, 0)
    losses = method.epoch_losses()
    targets = batch.targets[torch.arange(len(batch)), batch.lengths - 1]
    partners = method.index.draw(batch.users, batch.items, targets, torch.Generator().manual_seed(4))
    with torch.no_grad():  # without dropout both passes of a row agree
        state, other = method.backbone.last(batch.items), method.backbone.last(partners)
    wanted = {"dropout": info_nce(state, state), "same_target": info_nce(state, other)}
    present = {"us_x": {"same_target"}, "su": {"same_target"}, "un": {"dropout"}, "us": {"dropout", "same_target"}}
    for name in wanted:
        assert (f"loss/{name}" in losses) == (name in present[contrast])
        if name in present[contrast]:
            assert losses[f"loss/{name}"] == pytest.approx(wanted[name].item(), rel=1e-5)


@pytest.mark.parametrize("name", ["cl4srec", "duorec"])
def test_weight_0_is_sasrec_on_prefixes(cycle, batch, name):
    method = make(name, cycle.catalog, contrast_weight=0.0)
    method.index = SameTarget(
        cycle.sequences.items, prefixes(cycle.sequences, cycle.split.train_stop, 10), torch.device("cpu")
    )
    twin = make("sasrec", cycle.catalog)
    twin.load_state_dict(method.state_dict())
    torch.testing.assert_close(method.training_step(batch, 0), twin.training_step(batch, 0))
    assert set(method.epoch_losses()) == {"loss/next_item", "loss/total"}


def test_a_dropped_operator_leaves_two(cycle):
    assert len(make("cl4srec", cycle.catalog, reorder_ratio=0.0).operators) == 2


@pytest.mark.parametrize("name", ["cl4srec", "mclrec", "iclrec", "srma"])
def test_ratios_lie_in_0_to_1_and_leave_enough_operators(cycle, name):
    for numbers in ({"crop_ratio": 1.5}, {"mask_ratio": -0.1}, {"reorder_ratio": math.nan}):
        with pytest.raises(InputError, match=rf"{next(iter(numbers))}=.* must lie in 0\.\.1"):
            methods.build(name, cycle.catalog, **numbers)
    least = {"cl4srec": 2, "mclrec": 2, "iclrec": 1, "srma": 0}[name]
    ratios = ("crop_ratio", "mask_ratio", "reorder_ratio")
    assert methods.build(name, cycle.catalog, **dict.fromkeys(ratios[least:], 0.0))
    if least:
        with pytest.raises(InputError, match=f"the views need at least {least} operators"):
            methods.build(name, cycle.catalog, **dict.fromkeys(ratios[least - 1 :], 0.0))
    if name in ("cl4srec", "iclrec"):  # without a contrast nothing is drawn
        weights = {key: 0.0 for key in ("contrast_weight", "intent_weight") if key in methods.arguments(name)}
        assert methods.build(name, cycle.catalog, **weights, **dict.fromkeys(ratios, 0.0))
