"""S3-Rec's terms against loops written from the paper and the authors' code, and its closed forms."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import recloom
from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.module import SequenceData
from recloom.data.negatives import uniform_outside
from recloom.data.windows import prefixes
from recloom.encoders import Transformer
from recloom.errors import InputError
from recloom.items import IdEmbedding
from recloom.methods.pretrained_models import BACKBONES, RECURRENT
from recloom.methods.s3rec import S3Pretraining
from recloom.objectives.attributes import attribute_cross_entropy, attribute_info_nce
from recloom.objectives.ranked import nested_sigmoid, pairwise, sigmoid_info_nce
from recloom.training import Backbone
from recloom.views import cut_segment, mask_items

ALL = {"aap": 0.2, "mip": 1.0, "map": 1.0, "sp": 0.5}


def catalog(n_items=9, n_attributes=5, seed=0):
    """Items with 0 to 3 attributes."""
    draw = np.random.default_rng(seed)
    of = [np.sort(draw.choice(n_attributes, draw.integers(0, 4), replace=False) + 1) for _ in range(n_items)]
    counts = [0, 0, *(len(values) for values in of), 0]
    return Catalog(
        np.arange(n_items),
        attribute_names=[f"a{i}" for i in range(n_attributes)],
        attribute_offsets=np.cumsum(counts),
        attribute_values=np.concatenate(of),
        train_counts=np.ones(n_items + 2),
    )


def pretraining(weights=ALL, items=None, dropout=0.0, **options):
    torch.manual_seed(0)
    items = items or catalog()
    encoder = Transformer(8, layers=2, heads=2, length=8, dropout=dropout, positions="from_end", std=0.5)
    method = S3Pretraining(Backbone(IdEmbedding(items, 8, std=0.5), encoder), items, weights, **options).double()
    return method


BATCH = SequenceBatch(
    torch.arange(3),
    torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 8, 9, 0]]),
    torch.tensor([[2, 3, 4, 5], [6, 7, 0, 0], [8, 9, 1, 0]]),
)
WHOLE = torch.tensor([[1, 2, 3, 4, 5], [5, 6, 7, 0, 0], [7, 8, 9, 1, 0]])


def test_the_whole_window_is_the_inputs_and_the_last_target():
    assert torch.equal(BATCH.whole(), WHOLE)


def test_closed_forms_of_the_nested_sigmoids():
    zero, far = torch.zeros(()).double(), torch.tensor(1e4).double()
    assert nested_sigmoid(zero, zero).item() == pytest.approx(math.log(2))
    assert nested_sigmoid(far, -far).item() == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)
    assert nested_sigmoid(-far, far).item() == pytest.approx(math.log(1 + math.e), abs=1e-6)
    assert pairwise(zero, zero).item() == pytest.approx(math.log(2))


def has(items, item):
    return set(items.attribute_values[items.attribute_offsets[item] : items.attribute_offsets[item + 1]].tolist())


@pytest.mark.parametrize("chunk", [1 << 22, 1])
def test_attribute_cross_entropy_is_a_sum_over_the_vocabulary(chunk, monkeypatch):
    monkeypatch.setattr("recloom.objectives.attributes.LOGITS_PER_CHUNK", chunk)
    torch.manual_seed(0)
    items, n = catalog(), 40
    ids = torch.randint(1, 10, (n,))
    states, table = torch.randn(n, 4).double().requires_grad_(), torch.randn(6, 4).double().requires_grad_()
    offsets = torch.from_numpy(np.cumsum([0, *(len(has(items, i)) for i in ids.tolist())]))
    values = torch.tensor([a for i in ids.tolist() for a in sorted(has(items, i))])
    loss = attribute_cross_entropy(states, table, values, offsets)
    loss.backward()
    found = states.grad.clone(), table.grad.clone()
    states.grad = table.grad = None
    slow = 0.0
    for row, item in enumerate(ids.tolist()):
        for attribute in range(6):
            logit = states[row] @ table[attribute]
            label = torch.tensor(float(attribute in has(items, item))).double()
            slow = slow + F.binary_cross_entropy_with_logits(logit, label)
    slow.backward()
    torch.testing.assert_close(loss, slow)
    torch.testing.assert_close(found, (states.grad, table.grad))


def test_zero_logits_give_ln_2_for_every_attribute_and_class_0():
    values, offsets = torch.tensor([1, 3]), torch.tensor([0, 1, 1, 2])
    loss = attribute_cross_entropy(torch.zeros(3, 4), torch.randn(6, 4), values, offsets)
    assert loss.item() == pytest.approx(3 * 6 * math.log(2), rel=1e-6)
    assert attribute_cross_entropy(torch.zeros(0, 4), torch.randn(6, 4), values[:0], offsets[:1]).item() == 0


def test_the_paper_s_info_nce_forms():
    torch.manual_seed(0)
    items, ids = catalog(), [1, 4, 7, 9]
    assert min(len(has(items, i)) for i in ids) == 0 < 1 < max(len(has(items, i)) for i in ids)
    states, table = torch.randn(4, 3).double(), torch.randn(6, 3).double()
    offsets = torch.from_numpy(np.cumsum([0, *(len(has(items, i)) for i in ids)]))
    values = torch.tensor([a for i in ids for a in sorted(has(items, i))])
    slow = 0.0
    for row, item in enumerate(ids):
        score = [torch.sigmoid(states[row] @ table[a]).item() for a in range(6)]
        outside = math.log(sum(math.exp(score[a]) for a in range(1, 6) if a not in has(items, item)))
        own = has(items, item)
        slow += sum(outside - score[a] for a in own) / len(own) if own else 0.0
    assert attribute_info_nce(states, table, values, offsets).item() == pytest.approx(slow)
    good, bad = torch.randn(4).double(), torch.randn(4, 3).double()
    bad[1, 2] = -torch.inf
    slow = [
        math.log(sum(math.exp(torch.sigmoid(b).item()) for b in row if b.isfinite())) - torch.sigmoid(g).item()
        for g, row in zip(good, bad, strict=True)
    ]
    torch.testing.assert_close(sigmoid_info_nce(good, bad), torch.tensor(slow).double())


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_every_term_is_the_code_s(reduction):
    method, items = pretraining(reduction=reduction), catalog()
    method.fillers = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    method.generator.manual_seed(5)
    total = method.training_step(BATCH, 0)
    losses = method.epoch_losses()

    draws = torch.Generator().manual_seed(5)
    seen, hidden = mask_items(WHOLE, 10, 0.2, draws, always_last=True)
    states = method.backbone(seen, "bidirectional")
    wrong = uniform_outside(WHOLE, tuple(WHOLE.shape), 9, draws)
    assert hidden[0, 4] and hidden[1, 2] and hidden[2, 3]
    slow, table = {"aap": 0.0, "map": 0.0, "mip": 0.0, "sp": 0.0}, method.backbone.items.table()
    for row in range(3):
        for at in range(5):
            item = int(WHOLE[row, at])
            if item == 0:
                continue
            term = "map" if hidden[row, at] else "aap"
            for attribute in range(6):
                logit = method.bilinear[term](states[row, at]) @ method.attributes[attribute]
                chance = torch.sigmoid(logit)
                slow[term] -= torch.log(chance if attribute in has(items, item) else 1 - chance)
            if hidden[row, at]:
                asked = method.bilinear["mip"](states[row, at])
                good, bad = (torch.sigmoid(asked @ table[i]) for i in (item, int(wrong[row, at])))
                slow["mip"] -= torch.log(torch.sigmoid(good - bad))
    ends = [method.backbone(view, "bidirectional") for view in cut_segment(WHOLE, 10, method.fillers, draws)]
    for row, last in enumerate([4, 2, 3]):
        context, right, foreign = (states[row, last] for states in ends)
        asked = method.bilinear["sp"](context)
        slow["sp"] -= torch.log(torch.sigmoid(torch.sigmoid(asked @ right) - torch.sigmoid(asked @ foreign)))
    rows = 3 if reduction == "mean" else 1
    for name, value in slow.items():
        assert losses[f"loss/{name}"] == pytest.approx(value.item() / rows, rel=1e-9), name
    assert total.item() == pytest.approx(sum(ALL[name] * value.item() / rows for name, value in slow.items()))


CHOICES = [
    ({"item_loss": "pairwise"}, {"mip"}),
    ({"item_loss": "infonce"}, {"mip", "sp"}),  # no negative is drawn, so the segments' draws are others too
    ({"item_loss": "softmax"}, {"mip", "sp"}),
    ({"segment_loss": "pairwise"}, {"sp"}),
    ({"segment_loss": "infonce"}, {"sp"}),
    ({"attribute_loss": "infonce"}, {"aap", "map"}),
    ({"attribute_view": "embedding"}, {"aap"}),
    ({"mask_last": "random"}, {"aap", "map", "mip"}),
]


@pytest.mark.parametrize(("choice", "touched"), CHOICES)
def test_every_choice_changes_its_term_alone_and_learns(choice, touched):
    plain, other = pretraining(), pretraining(**choice)
    for method in (plain, other):
        method.generator.manual_seed(1)
        method.training_step(BATCH, 0).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in other.parameters())
    one, two = plain.epoch_losses(), other.epoch_losses()
    assert {name for name in ALL if one[f"loss/{name}"] != two[f"loss/{name}"]} == touched


def test_unknown_choices_are_refused_by_name():
    with pytest.raises(InputError, match=r"item_loss='bce'.*nested, pairwise, infonce, softmax"):
        pretraining(item_loss="bce")
    with pytest.raises(InputError, match="mask_rate"):
        pretraining(mask_rate=1.0)
    with pytest.raises(KeyError, match="itm_loss"):
        pretraining(itm_loss="softmax")


@pytest.mark.parametrize("term", list(ALL))
def test_weight_0_switches_a_term_off_exactly(term):
    method = pretraining({**ALL, term: 0.0})
    method.training_step(BATCH, 0).backward()
    assert f"loss/{term}" not in method.epoch_losses() and term not in method.bilinear
    assert all(p.grad is not None for p in method.parameters())


def test_parameter_counts_are_those_of_the_released_checkpoints():
    for n_items, n_attributes, wanted in ((12_101, 637, 935_360), (3_646, 388, 378_304)):
        names = [str(a) for a in range(n_attributes)]
        offsets = np.array([0, 0, *([1] * n_items), 1])
        items = Catalog(np.arange(n_items), None, names, offsets, np.array([1]))
        method = methods.build("s3rec", items)[0].method
        assert sum(p.numel() for p in method.parameters()) == wanted


def test_pretraining_sees_both_sides_and_fine_tuning_one():
    pretrain, tune = (stage.method.eval() for stage in methods.build("s3rec", catalog(), length=8))
    one = torch.tensor([[1, 2, 3, 4]])
    two = torch.tensor([[1, 2, 3, 5]])
    with torch.no_grad():
        assert not torch.allclose(
            pretrain.backbone(one, "bidirectional")[:, 0], pretrain.backbone(two, "bidirectional")[:, 0]
        )
        assert torch.equal(tune.backbone(one)[:, :3], tune.backbone(two)[:, :3])
    assert pretrain.backbone is tune.backbone


def test_an_encoder_that_cannot_read_both_sides_is_refused():
    class Causal(Transformer):
        contexts = frozenset({"causal"})

    backbone = Backbone(IdEmbedding(catalog(), 8), Causal(8))
    with pytest.raises(InputError, match=r"cannot read a 'bidirectional' context; it reads causal"):
        S3Pretraining(backbone, catalog(), ALL)
    assert S3Pretraining(backbone, catalog(), ALL, context="causal")


def test_a_catalog_without_attributes_names_the_method_that_needs_none():
    with pytest.raises(InputError, match="s3rec-mip"):
        methods.build("s3rec", Catalog(np.arange(5)))


def test_attribute_ids_may_be_permuted_and_an_unused_one_adds_its_own_zeros():
    items, more = catalog(n_attributes=5), catalog(n_attributes=5)
    order = np.array([0, 3, 1, 5, 2, 4])
    more.attribute_values = order[items.attribute_values].astype(np.int32)
    one, two = pretraining(items=items), pretraining(items=more)
    two.attributes.data[order] = one.attributes.data.clone()
    wide = catalog(n_attributes=5)
    wide.attribute_names = [*wide.attribute_names, "unused"]
    three = pretraining(items=wide)
    three.load_state_dict({**one.state_dict(), "attributes": torch.cat([one.attributes, torch.zeros(1, 8)]).detach()})
    values = []
    for method in (one, two, three):
        method.generator.manual_seed(1)
        method.training_step(BATCH, 0)
        values.append(method.epoch_losses())
    for term in ("aap", "map"):
        assert values[0][f"loss/{term}"] == pytest.approx(values[1][f"loss/{term}"], rel=1e-9)
    added = sum(values[2][f"loss/{term}"] - values[0][f"loss/{term}"] for term in ("aap", "map"))
    assert added == pytest.approx(12 * math.log(2), rel=1e-6)  # 12 real positions, a logit of 0 each


def test_without_pretraining_it_is_sasrec_to_the_bit(cycle):
    shared = {"dim": 8, "length": 10, "epochs": 2, "attention_dropout": 0.5, "positions": "from_end", "progress": False}
    plain = recloom.train("sasrec", cycle, **shared)
    for off in ({"pretrain_epochs": 0}, {f"{term}_weight": 0.0 for term in ALL}):
        run = recloom.train("s3rec", cycle, **shared, **off)
        for name, value in plain.method.state_dict().items():
            assert torch.equal(value, run.method.state_dict()[name])


def test_foreign_segments_hold_no_held_out_item(cycle):
    method = methods.build("s3rec-mip", cycle.catalog, dim=8, length=10)[0].method
    method.trainer = SimpleNamespace(datamodule=SequenceData(cycle, prefixes, length=10))
    method.on_fit_start()
    begin, stop = cycle.sequences.offsets[:-1], cycle.split.train_stop
    wanted = np.concatenate([cycle.sequences.items[a:b] for a, b in zip(begin, stop, strict=True)])
    assert np.array_equal(method.fillers.numpy(), wanted)


@pytest.mark.parametrize("model", list(BACKBONES))
def test_the_pretext_runs_over_every_model_and_hands_its_backbone_on(model, cycle_with_attributes):
    numbers = {"model": model, "dim": 8, "length": 10, "pretrain_windows": "whole", "pretrain_epochs": 1, "epochs": 1}
    if model in RECURRENT:
        with pytest.raises(InputError, match="needs context='causal'"):
            methods.build("s3rec", cycle_with_attributes.catalog, **numbers)
        with pytest.raises(InputError, match=f"layers=3 .* model='{model}' reads dim, length, dropout alone"):
            methods.build("s3rec", cycle_with_attributes.catalog, context="causal", layers=3, **numbers)
    context = "causal" if model in RECURRENT else "bidirectional"
    pretrain, tune = methods.build("s3rec", cycle_with_attributes.catalog, context=context, **numbers)
    assert pretrain.method.backbone is tune.method.backbone
    assert methods.build("s3rec", cycle_with_attributes.catalog, context="causal", **numbers)
    run = recloom.train("s3rec", cycle_with_attributes, progress=False, context=context, **numbers)
    assert np.isfinite(run.history["loss/total"].to_numpy()).all() and run.history.height == 2
    if model.endswith("-f"):
        assert pretrain.method.attribute_table() is tune.method.backbone.items.attributes.weight


@pytest.mark.parametrize("model", ["autoint", "caser"])
def test_autoint_and_caser_take_over_the_embeddings_alone(cycle_with_attributes, tmp_path, model):
    numbers = {
        "model": model,
        "dim": 8,
        "length": 10,
        "pretrain_windows": "whole",
        "pretrain_epochs": 1,
        "epochs": 1,
    }
    pretrain, tune = methods.build("s3rec", cycle_with_attributes.catalog, **numbers)
    read = tune.method if model == "autoint" else tune.method.backbone
    assert read.items is pretrain.method.backbone.items
    if model == "autoint":
        assert pretrain.method.attribute_table() is tune.method.attributes.weight
    else:
        assert tune.method.backbone is not pretrain.method.backbone
    data, numbers = cycle_with_attributes, {**numbers, "progress": False}
    whole = recloom.train("s3rec", data, **numbers)
    first = recloom.train("s3rec", data, out=tmp_path / "pre", stage="pretrain", **numbers)
    rest = recloom.train("s3rec", data, start=tmp_path / "pre", **numbers)
    for name, value in whole.method.state_dict().items():
        assert torch.equal(value, rest.method.state_dict()[name]), name
    untouched = recloom.train("s3rec", data, start=first, **{**numbers, "epochs": 0})
    read = untouched.method if model == "autoint" else untouched.method.backbone
    assert torch.equal(read.items.table(), first.method.backbone.items.table())
    if model == "autoint":
        assert torch.equal(read.attributes.weight, first.method.handed_on.weight)


def test_autoint_has_a_loss_of_its_own(cycle_with_attributes):
    catalog = cycle_with_attributes.catalog
    with pytest.raises(InputError, match=r"loss='bpr' has no effect: model='autoint'"):
        methods.build("s3rec", catalog, model="autoint", loss="bpr")
    for loss in ("softmax", "bce"):
        assert (
            methods.build("s3rec", catalog, model="autoint", loss=loss, negatives=3)[-1].method.actions.negatives == 3
        )


def test_a_row_of_one_item_leaves_no_room_for_the_mask(cycle_with_attributes):
    with pytest.raises(InputError, match="length=1 leaves no room"):
        methods.build("s3rec", cycle_with_attributes.catalog, length=1)


def test_states_of_hidden_items_alone_are_formed_where_no_others_are_read(monkeypatch):
    losses, at = [], Backbone.at
    for some in (at, lambda self, ids, places, context: self(ids, context)[places]):
        asked = []
        monkeypatch.setattr(
            Backbone, "at", lambda self, *row, some=some, asked=asked: asked.append(row) or some(self, *row)
        )
        method = pretraining({"mip": 1.0, "map": 1.0})
        method.generator.manual_seed(0)
        losses.append(method.training_step(BATCH, 0))
        assert len(asked) == 1
    torch.testing.assert_close(*losses)


def test_vectors_wider_than_the_states_are_refused_for_the_embedding_view(cycle_with_attributes):
    with pytest.raises(InputError, match="attribute_view='states'"):
        methods.build("s3rec", cycle_with_attributes.catalog, model="fdsa", dim=8, attribute_view="embedding")
