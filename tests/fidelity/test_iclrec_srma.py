"""ICLRec's intents and SRMA's changes of the model."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import recloom
from recloom import methods
from recloom.data.module import window_batch
from recloom.data.windows import whole
from recloom.errors import InputError
from recloom.methods.iclrec import ICLRec
from recloom.methods.srma import ExtraLayers
from recloom.nn.dropout import dropout
from recloom.objectives.info_nce import info_nce
from recloom.views import one_of

SMALL = {"dim": 8, "length": 10, "dropout": 0.0, "attention_dropout": 0.0, "precision": "fp32"}


def make(name, catalog, **numbers):
    torch.manual_seed(0)
    return methods.build(name, catalog, **{**SMALL, **numbers})[-1].method


@pytest.fixture
def batch(cycle):
    windows = whole(cycle.sequences, cycle.split.train_stop, 10)
    return window_batch(cycle.sequences.items, windows, np.arange(6))


def step_and_views(method, batch):
    """The loss of a step, and the two views that it drew."""
    method.generator.manual_seed(1)
    loss = method.training_step(batch, 0)
    method.generator.manual_seed(1)
    return loss, [one_of(batch.items, method.operators, method.generator) for _ in range(2)]


def means_of(method, items):
    return torch.stack([s[:n].mean(0) for s, n in zip(method.backbone(items), (items != 0).sum(1), strict=True)])


def main(method, batch):
    states, real = method.backbone(batch.items), batch.targets != 0
    return F.cross_entropy(states[real] @ method.backbone.items.table()[1:-1].t(), batch.targets[real] - 1)


@pytest.mark.parametrize("mask_same_intent", [False, True])
def test_iclrec_s_loss_by_its_parts(cycle, batch, mask_same_intent):
    numbers = {"intents": 3, "contrast_weight": 0.3, "intent_weight": 0.2, "contrast_on": "last", "temperature": 0.7}
    method = make("iclrec", cycle.catalog, mask_same_intent=mask_same_intent, **numbers)
    method.centres = F.normalize(means_of(method, batch.items)[[0, 1, 2]].detach(), dim=1)
    loss, views = step_and_views(method, batch)
    intents, *seen = (
        torch.tensor([((mean - method.centres) ** 2).sum(1).argmin() for mean in means_of(method, items)])
        for items in (batch.items, *views)
    )
    assert not any(torch.equal(intents, each) for each in seen), "histories have other intents than their views"
    same = intents[:, None] == intents if mask_same_intent else None
    wanted = main(method, batch) + 0.3 * info_nce(*map(method.backbone.last, views), temperature=0.7)
    for view in views:
        found = info_nce(means_of(method, view), method.centres[intents], temperature=0.7, same=same)
        wanted = wanted + 0.2 * found / 2
    torch.testing.assert_close(loss, wanted)


def test_the_expectation_step_reads_all_training_histories_without_dropout(cycle, monkeypatch):
    method = make("iclrec", cycle.catalog, dropout=0.5, attention_dropout=0.5, intents=4).train()
    windows = whole(cycle.sequences, cycle.split.train_stop, 10)
    data = SimpleNamespace(items=cycle.sequences.items, windows=windows)
    monkeypatch.setattr(ICLRec, "trainer", SimpleNamespace(datamodule=data))
    points = []
    monkeypatch.setattr(method, "cluster", lambda means: points.append(means) or means[:4])
    method.on_train_epoch_start()
    assert method.training, "the steps that follow have dropout"
    rows = window_batch(cycle.sequences.items, windows, np.arange(len(windows.users))).items
    assert (rows != 0).all() and len(rows) == cycle.n_users
    torch.testing.assert_close(points[0], method.eval().backbone(rows).mean(1))
    torch.testing.assert_close(method.centres, F.normalize(points[0][:4], dim=1))


def test_centres_have_no_gradient_and_are_found_where_they_are_used_alone(cycle):
    numbers = {**SMALL, "dropout": 0.5, "epochs": 1}
    one = recloom.train("iclrec", cycle, progress=False, intents=4, **numbers).method
    assert one.centres.shape == (4, 8) and not one.centres.requires_grad
    torch.testing.assert_close(one.centres.norm(dim=1), torch.ones(4))
    without = recloom.train("iclrec", cycle, progress=False, intent_weight=0.0, **numbers).method
    assert without.centres is None


def test_iclrec_without_weights_is_sasrec_run_for_run(cycle):
    numbers = {**SMALL, "epochs": 2, "positions": "from_end"}
    one = recloom.train("iclrec", cycle, progress=False, contrast_weight=0.0, intent_weight=0.0, **numbers).method
    two = recloom.train("sasrec", cycle, progress=False, **numbers).method
    for name, value in two.state_dict().items():
        assert torch.equal(value, one.state_dict()[name]), name


def test_faiss_is_asked_for_by_name(cycle):
    with pytest.raises(InputError, match="clustering='scipy'"):
        make("iclrec", cycle.catalog, clustering="scipy")
    try:
        import faiss  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="needs faiss"):
            make("iclrec", cycle.catalog, clustering="faiss").cluster(torch.randn(20, 8))
    else:
        assert make("iclrec", cycle.catalog, clustering="faiss", intents=3).cluster(torch.randn(50, 8)).shape == (3, 8)


@pytest.mark.parametrize("installed", [False, True])
def test_auto_is_faiss_where_it_is_installed(cycle, monkeypatch, installed):
    class Kmeans:
        def __init__(self, dim, k, **options):
            self.centroids, self.options = np.full((k, dim), 7, np.float32), options

        def train(self, points):
            assert self.options["nredo"] == 5 and points.dtype == np.float32

    faiss = SimpleNamespace(Kmeans=Kmeans, __spec__="faiss") if installed else None
    monkeypatch.setitem(sys.modules, "faiss", faiss)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: faiss)
    points, found = torch.randn(50, 8), []
    for clustering in ("auto", "faiss" if installed else "torch"):
        method = make("iclrec", cycle.catalog, clustering=clustering, intents=3, restarts=5)
        method.generator.manual_seed(0)
        found.append(method.cluster(points))
    assert torch.equal(*found) and bool((found[0] == 7).all()) == installed


def test_so_many_layers_are_left_out_while_training_and_none_later(cycle):
    method = make("srma", cycle.catalog, extra_layers=3, left_out=1)
    encoder = method.backbone.encoder
    assert isinstance(encoder, ExtraLayers)
    seen = {tuple(encoder.train().used()) for _ in range(50)}
    assert seen == {(0, 1), (0, 2), (1, 2)}
    assert encoder.eval().used() == [0, 1, 2]
    items = torch.tensor([[3, 4, 5]])
    states = encoder.encoder(method.backbone.items(items), items != 0)
    for layer, norm in zip(encoder.layers, encoder.norms, strict=True):
        states = norm(states + F.gelu(layer(states)))
    torch.testing.assert_close(method.backbone(items), states)


def test_neurons_of_the_extra_layers_are_masked_while_training_alone(cycle):
    method = make("srma", cycle.catalog, dropout=0.5, left_out=0)
    encoder, items = method.backbone.encoder, torch.tensor([[3, 4, 5]])
    for training in (True, False):
        encoder.train(training).encoder.eval()
        states = encoder.encoder(method.backbone.items(items), items != 0)
        torch.manual_seed(1)
        for layer, norm in zip(encoder.layers, encoder.norms, strict=True):
            states = norm(states + dropout(F.gelu(layer(states)), 0.5, training))
        torch.manual_seed(1)
        torch.testing.assert_close(method.backbone(items), states)
        assert torch.equal(method.backbone(items), method.backbone(items)) != training


@pytest.mark.parametrize(("choice", "calls"), [("distinct", 3), ("same", 2)])
def test_views_choose_their_layers_apart_or_together(cycle, batch, choice, calls, monkeypatch):
    method = make("srma", cycle.catalog, layer_choice=choice, complement_weight=0.0).train()
    used = []
    kept = ExtraLayers.used
    monkeypatch.setattr(ExtraLayers, "used", lambda self: used.append(kept(self)) or used[-1])
    for _ in range(10):
        method.training_step(batch, 0)
    assert len(used) == 10 * calls, "one of them is the next-item loss's"
    assert any(one != two for one, two in zip(used[1::calls], used[2::calls], strict=False)) or choice == "same"


def test_srma_s_loss_by_its_parts_and_the_other_encoder_stays(cycle, batch):
    numbers = {"contrast_weight": 0.3, "complement_weight": 0.2, "contrast_on": "last", "temperature": 0.7}
    method = make("srma", cycle.catalog, left_out=0, **numbers).train()
    loss, views = step_and_views(method, batch)
    one, two = map(method.backbone.last, views)
    beside = sum(info_nce(view, method.beside.last(batch.items), temperature=0.7) for view in (one, two))
    wanted = main(method, batch) + 0.3 * info_nce(one, two, temperature=0.7) + 0.2 * beside
    torch.testing.assert_close(loss, wanted)
    before = {name: value.clone() for name, value in method.beside.state_dict().items()}
    optimizer = method.configure_optimizers()
    loss.backward()
    optimizer.step()
    for name, value in method.beside.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not method.beside.training and method.backbone.training


def test_srma_trains_the_encoder_beside_it_first(cycle):
    first, second = methods.build("srma", cycle.catalog, **SMALL)
    assert first.name == "pretrain" and second.method.beside is first.method.backbone
    assert second.method.backbone.items is not first.method.backbone.items
    assert len(methods.build("srma", cycle.catalog, complement_weight=0.0, **SMALL)) == 1
    unread = {"complement": "states", "contrast_weight": 0.0}
    assert len(methods.build("srma", cycle.catalog, **unread, **SMALL)) == 1, "nothing reads the views"
    with pytest.raises(InputError, match="pretrain_epochs=5"):
        methods.build("srma", cycle.catalog, complement_weight=0.0, pretrain_epochs=5, **SMALL)
    first, second = methods.build("srma", cycle.catalog, seen_items=True, **SMALL)
    assert first.method.seen_items is None and second.method.seen_items is not None


def test_what_does_not_fit_is_refused(cycle):
    for name, numbers, message in (
        ("srma", {"left_out": 3}, "left_out=3"),
        ("srma", {"layer_choice": "all"}, "layer_choice='all'"),
        ("iclrec", {"intents": 0}, "intents=0"),
        ("iclrec", {"contrast_on": "sum"}, "contrast_on='sum'"),
    ):
        with pytest.raises(InputError, match=message):
            make(name, cycle.catalog, **numbers)


@pytest.mark.parametrize("choice", ["distinct", "same"])
def test_srma_of_the_paper_adds_the_other_encoder_s_states(cycle, batch, choice):
    numbers = {"contrast_weight": 0.3, "complement_weight": 0.2, "contrast_on": "last", "temperature": 0.7}
    method = make("srma", cycle.catalog, preset="paper", loss="softmax", layer_choice=choice, left_out=0, **numbers)
    loss, views = step_and_views(method, batch)
    joined = [method.backbone.last(view) + 0.2 * method.beside.last(view) for view in views]
    torch.testing.assert_close(loss, main(method, batch) + 0.3 * info_nce(*joined, temperature=0.7))
    with pytest.raises(InputError, match="complement='sum'"):
        make("srma", cycle.catalog, complement="sum")
