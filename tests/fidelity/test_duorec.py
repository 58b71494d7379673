"""DuoRec's positives, its pairs of views and its terms."""

import numpy as np
import pytest
import torch

import recloom
from recloom import methods
from recloom.data.module import TrainingBatches, window_batch
from recloom.data.windows import prefixes
from recloom.errors import InputError
from recloom.methods.duorec import SameTarget
from recloom.objectives.info_nce import info_nce


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make(name, catalog, **numbers):
    shared = {"dim": 8, "length": 10, "dropout": 0.0, "attention_dropout": 0.0, "precision": "fp32"}
    return methods.build(name, catalog, **{**shared, **numbers})[0].method


@pytest.fixture
def batch(cycle):
    windows = prefixes(cycle.sequences, cycle.split.train_stop, 10)
    return window_batch(cycle.sequences.items, windows, np.arange(3, 40, 5))


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


def test_partners_come_from_the_training_rows_alone(cycle, monkeypatch):
    seen = []

    class Watched(SameTarget):
        def __init__(self, items, windows, device):
            seen.append(windows)
            super().__init__(items, windows, device)

    monkeypatch.setattr("recloom.methods.duorec.SameTarget", Watched)
    recloom.train("duorec", cycle, progress=False, dim=8, length=10, epochs=1)
    assert seen and all((windows.stop <= cycle.split.train_stop[windows.users]).all() for windows in seen)


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


@pytest.fixture
def known(monkeypatch):
    """A DuoRec over a batch with a repeated target whose states are known, and without its next-item loss."""

    def build(cycle, **numbers):
        method = make("duorec", cycle.catalog, contrast_weight=0.5, **numbers)
        windows = prefixes(cycle.sequences, cycle.split.train_stop, 10)
        method.index = SameTarget(cycle.sequences.items, windows, torch.device("cpu"))
        last = cycle.sequences.items[windows.stop - 1]
        batch = window_batch(cycle.sequences.items, windows, np.concatenate([np.flatnonzero(last == 7)[:3], [0, 1, 2]]))
        assert len(batch.last_targets.unique()) < len(batch)
        states = iter(torch.randn(9, len(batch), 8))
        own, others = [], []

        def state(items):
            seen = own if torch.equal(items, batch.items) else others
            seen.append(next(states))
            return seen[-1]

        monkeypatch.setattr(method.backbone, "last", state)
        method.next_item = lambda *_: torch.zeros(())
        return method.training_step(batch, 0), own, others, batch.last_targets

    return build


@pytest.mark.parametrize("contrast", ["us_x", "us", "un", "su"])
def test_each_contrast_is_of_its_own_pair_of_views(cycle, known, contrast):
    loss, own, others, _ = known(cycle, contrast=contrast)
    assert len(own) == {"us_x": 2, "us": 2, "un": 2, "su": 1}[contrast], "the first is the next item's as well"
    assert len(others) == (contrast != "un")
    pairs = {"us_x": [(1, "other")], "su": [(0, "other")], "un": [(0, 1)], "us": [(0, 1), (0, "other")]}[contrast]
    views = {0: own[0], 1: own[-1], "other": others[0] if others else None}
    torch.testing.assert_close(loss, 0.5 * sum(info_nce(views[a], views[b]) for a, b in pairs))


def test_temperature_similarity_and_the_mask_of_the_same_target_reach_the_contrast(cycle, known):
    for numbers in ({"temperature": 0.3}, {"similarity": "cosine"}, {"mask_same_target": True}):
        loss, (state, again), _, targets = known(cycle, contrast="un", **numbers)
        plain = info_nce(state, again)
        same = targets[:, None] == targets if numbers.pop("mask_same_target", False) else None
        torch.testing.assert_close(loss, 0.5 * info_nce(state, again, same=same, **numbers))
        assert abs(loss - 0.5 * plain) > 1e-3


@pytest.mark.parametrize("training", [True, False])
def test_two_passes_differ_by_their_dropout_in_training_alone(cycle, monkeypatch, training):
    method = make("duorec", cycle.catalog, contrast="un", dropout=0.5).train(training)
    windows = prefixes(cycle.sequences, cycle.split.train_stop, 10)
    method.index = SameTarget(cycle.sequences.items, windows, torch.device("cpu"))
    passes, kept = [], method.backbone.last
    monkeypatch.setattr(method.backbone, "last", lambda items: passes.append(kept(items)) or passes[-1])
    method.next_item = lambda *_: torch.zeros(())
    method.training_step(window_batch(cycle.sequences.items, windows, np.arange(6)), 0)
    one, two = passes
    assert torch.equal(one, two) != training


def test_wrong_choices_are_refused(cycle):
    with pytest.raises(InputError, match="us_x"):
        methods.build("duorec", cycle.catalog, contrast="both")
