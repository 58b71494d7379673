"""DSSRec's equations by loops, its closed forms, and what its two sides see."""

import math

import numpy as np
import pytest
import torch

import recloom
from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.module import TrainingBatches, window_batch
from recloom.data.sequences import Sequences
from recloom.data.windows import past_and_future
from recloom.encoders import Convolutional, Recurrent, Transformer
from recloom.errors import InputError
from recloom.items import IdEmbedding
from recloom.methods.dssrec import DSSRec, reverse, split
from recloom.nn import IntentDisentangling
from recloom.objectives.intents import sequence_to_item, sequence_to_sequence, trusted
from recloom.training import Backbone

B, K, D, LENGTH = 3, 2, 6, 8


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def vectors(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def score(a, b):
    return math.exp(float(a @ b) / math.sqrt(len(a)))


def test_equation_6_by_loops():
    past, items = vectors(B, K, D), vectors(B, D)
    slow = []
    for j in range(B):
        best = max(score(items[j], past[j, k]) for k in range(K))
        slow.append(-math.log(best / sum(score(items[i], past[j, k]) for i in range(B) for k in range(K))))
    torch.testing.assert_close(
        sequence_to_item(past, items), torch.tensor(slow, dtype=torch.float64), rtol=1e-10, atol=1e-10
    )


def test_items_further_on_take_the_place_of_the_row_s_own():
    past, items, targets = vectors(B, K, D), vectors(B, D), vectors(4, D)
    rows, slow = [0, 0, 2, 1], []
    for j, target in zip(rows, targets, strict=True):
        best = max(score(target, past[j, k]) for k in range(K))
        others = sum(score(items[i], past[j, k]) for i in range(B) for k in range(K) if i != j)
        slow.append(-math.log(best / (others + sum(score(target, past[j, k]) for k in range(K)))))
    found = sequence_to_item(past, items, targets, torch.tensor(rows))
    torch.testing.assert_close(found, torch.tensor(slow, dtype=torch.float64), rtol=1e-10, atol=1e-10)
    same = sequence_to_item(past, items, items, torch.arange(B))
    torch.testing.assert_close(same, sequence_to_item(past, items))


def test_equation_3_by_loops():
    past, future = vectors(B, K, D), vectors(B, K, D)
    slow = torch.zeros(B, K, dtype=torch.float64)
    for j in range(B):
        for k in range(K):
            every = sum(score(past[j, k], future[i, m]) for i in range(B) for m in range(K))
            slow[j, k] = -math.log(score(past[j, k], future[j, k]) / every)
    torch.testing.assert_close(sequence_to_sequence(past, future), slow, rtol=1e-10, atol=1e-10)


def test_mixed_precision_makes_no_ties():
    torch.manual_seed(0)
    past, future = torch.randn(2, 128, 4, 16)
    with torch.autocast("cpu", torch.bfloat16):
        losses = sequence_to_sequence(past, future)
        assert sequence_to_item(past, future[:, 0]).dtype == losses.dtype == torch.float32
    kept = losses <= losses.flatten().kthvalue(256).values
    assert 256 <= kept.sum() < 260


def test_equation_4_takes_the_smallest_and_all_ties():
    losses = torch.tensor([[3.0, 1.0], [2.0, 5.0], [4.0, 2.0]], requires_grad=True)
    for share, wanted in (
        (0.0, 0.0),
        (0.01, 1.0),
        (1 / 6, 1.0),
        (1e-12, 1.0),
        (1 / 3, 5.0),
        (0.34, 5.0),
        (0.5, 5.0),
        (0.51, 8.0),
        (1.0, 17.0),
    ):
        assert trusted(losses, share).item() == pytest.approx(wanted), share
    trusted(losses, 0.5).backward()
    assert losses.grad.tolist() == [[0, 1], [1, 0], [0, 1]]
    distinct = torch.randn(5, 4).double()
    for share in np.linspace(0.05, 1, 20):
        kept = math.ceil(round(share * 20, 9))
        assert trusted(distinct, share).item() == pytest.approx(distinct.flatten().sort().values[:kept].sum().item())


def test_closed_forms():
    same, item = torch.ones(B, K, D).double(), torch.ones(B, D).double()
    torch.testing.assert_close(sequence_to_item(same, item), torch.full((B,), math.log(B * K)).double())
    torch.testing.assert_close(sequence_to_sequence(same, same), torch.full((B, K), math.log(B * K)).double())
    one, item = vectors(B, 1, D), vectors(B, D)
    doubled = one.expand(B, K, D)
    torch.testing.assert_close(sequence_to_item(doubled, item), sequence_to_item(one, item) + math.log(K))
    perfect = torch.eye(B * K, D).double().view(B, K, D) * 200
    torch.testing.assert_close(sequence_to_sequence(perfect, perfect), torch.zeros(B, K).double(), atol=1e-9, rtol=0)
    found = sequence_to_item(perfect, perfect[:, 1])
    torch.testing.assert_close(found, torch.zeros(B).double(), atol=1e-9, rtol=0)
    plain = torch.nn.functional.cross_entropy(one[:, 0] @ item.t() / math.sqrt(D), torch.arange(B), reduction="none")
    torch.testing.assert_close(sequence_to_item(one, item), plain)
    plain = torch.nn.functional.cross_entropy(one[:, 0] @ item.t() / math.sqrt(D), torch.arange(B), reduction="none")
    torch.testing.assert_close(sequence_to_sequence(one, item[:, None])[:, 0], plain)


def test_what_is_trusted_does_not_depend_on_the_scale_and_grows_with_the_share():
    losses, before = torch.rand(5, 4).double(), torch.zeros(5, 4).bool()
    for share in (0.1, 0.3, 0.35, 0.8, 1.0):
        kept = []
        for scale in (1.0, 0.01, 300.0):
            scaled = (losses * scale).requires_grad_()
            trusted(scaled, share).backward()
            kept.append(scaled.grad > 0)
        assert torch.equal(kept[0], kept[1]) and torch.equal(kept[0], kept[2])
        assert kept[0].sum() == math.ceil(share * 20) and bool((kept[0] | ~before).all())
        before = kept[0]


def test_the_order_of_a_batch_is_of_no_account():
    past, future, items, order = vectors(B, K, D), vectors(B, K, D), vectors(B, D), torch.tensor([2, 0, 1])
    torch.testing.assert_close(sequence_to_item(past[order], items[order]), sequence_to_item(past, items)[order])
    found = sequence_to_sequence(past[order], future[order])
    torch.testing.assert_close(found, sequence_to_sequence(past, future)[order])


def layer():
    found = IntentDisentangling(D, K, LENGTH).double()
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter)
    return found


VALID = torch.tensor([[True] * 5, [True] * 2 + [False] * 3, [True] * 1 + [False] * 4])


def test_equations_8_to_13_by_loops():
    module, states = layer(), vectors(3, 5, D)
    found = module(states, VALID, label=True)
    for row in range(3):
        n = int(VALID[row].sum())
        z = states[row, :n]
        place = [module.position[LENGTH - n + i] for i in range(n)]
        by = [module.norm_states(z[i]) @ module.norm_prototypes(module.prototypes).T / D**0.5 for i in range(n)]
        cluster = [torch.softmax(b, 0) for b in by]
        keys = []
        for i in range(n):
            key = module.norm_keys(place[i] + z[i])
            keys.append(key + torch.relu(module.widen.weight @ key + module.widen.bias))
        query = module.norm_query(place[n - 1] + z[n - 1] + module.query_bias)
        weight = torch.softmax(torch.stack([key @ query / D**0.5 for key in keys]), 0)
        for k in range(K):
            total = module.biases[1, k] + sum(cluster[i][k] * weight[i] * z[i] for i in range(n))
            torch.testing.assert_close(found[row, k], module.norm_intents(total))


def test_shares_sum_to_one_and_padding_has_none():
    module, states = layer(), vectors(3, 5, D)
    importance = module.importance(states, VALID)
    assert (importance[~VALID] == 0).all()
    torch.testing.assert_close(importance.sum(1), torch.ones(3).double())
    torch.testing.assert_close(module.clusters(states).sum(-1), torch.ones(3, 5).double())
    longer = torch.nn.functional.pad(states, (0, 0, 0, 2), value=7.0)
    torch.testing.assert_close(module(longer, torch.nn.functional.pad(VALID, (0, 2))), module(states, VALID))


def test_permuting_intents_permutes_vectors_and_leaves_losses():
    module, other, states = layer(), layer(), vectors(3, 5, D)
    other.load_state_dict(module.state_dict())
    other.prototypes.data = module.prototypes.data.flip(0)
    other.biases.data = module.biases.data.flip(1)
    past, future = module(states, VALID), module(states.flip(0), VALID, label=True)
    swapped, later = other(states, VALID), other(states.flip(0), VALID, label=True)
    torch.testing.assert_close(swapped, past.flip(1))
    items = vectors(3, D)
    torch.testing.assert_close(sequence_to_item(swapped, items), sequence_to_item(past, items))
    one, two = sequence_to_sequence(past, future), sequence_to_sequence(swapped, later)
    torch.testing.assert_close(two, one.flip(1))


def made(lengths, length):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    sequences = Sequences(np.arange(1, offsets[-1] + 1, dtype=np.int32), offsets, None)
    windows = past_and_future(sequences, offsets[1:] - 2, length)
    return sequences, windows


def test_every_cut_of_every_history_once_with_the_items_nearest_to_it():
    sequences, windows = made([9, 3, 4, 2], 4)
    past, future = split(window_batch(sequences.items, windows, np.arange(len(windows))), 4)
    found = sorted((p[p > 0].tolist(), f[f > 0].tolist()) for p, f in zip(past, future, strict=True))
    wanted = []
    for begin, stop in zip(sequences.offsets[:-1], sequences.offsets[1:] - 2, strict=True):
        row = sequences.items[begin:stop].tolist()
        wanted += [(row[:t][-4:], row[t:][:4]) for t in range(1, len(row))]
    assert found == sorted(wanted) and len(found) == 7


def test_one_cut_of_each_history_is_drawn_alike_among_its_places():
    rows = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 0], [8, 9, 0, 0]]).repeat_interleave(3000, 0)
    batch = SequenceBatch(torch.arange(len(rows)), rows[:, :-1] * (rows[:, 1:] != 0), rows[:, 1:])
    past, future = split(batch, 3, torch.Generator().manual_seed(1))
    for row, before, after in zip(rows.tolist(), past.tolist(), future.tolist(), strict=True):
        assert [item for item in (*before, *after) if item] == [item for item in row if item] and after[0]
    for part, places in zip((past != 0).sum(1).split(3000), (3, 2, 1), strict=True):
        counts = part.bincount(minlength=4)[1 : places + 1]
        assert counts.sum() == 3000 and ((counts / 3000 - 1 / places).abs() < 0.04).all()


def test_an_epoch_of_one_cut_reads_each_history_once(cycle):
    stage = methods.build("dssrec", cycle.catalog, dim=8, length=10, cuts="one")[0]
    windows = stage.windows(cycle.sequences, cycle.split.train_stop, 10)
    assert len(windows) == len(set(windows.users.tolist())) == 300
    run = recloom.train("dssrec", cycle, progress=False, dim=8, length=10, epochs=2, cuts="one")
    assert run.history["loss/future"].is_finite().all()


def test_one_cut_of_a_history_longer_than_a_row_lies_anywhere_and_keeps_what_is_nearest(cycle):
    stage = methods.build("dssrec", cycle.catalog, dim=8, length=3, cuts="one")[0]
    items, n = np.arange(1, 12, dtype=np.int32), 3000
    windows = stage.windows(Sequences(items, np.array([0, 11])), np.array([11]), 3)
    rows = window_batch(items, windows, np.zeros(n, dtype=np.int64))
    past, future = split(rows, 3, torch.Generator().manual_seed(1))
    cuts = []
    for before, after in zip(past.tolist(), future.tolist(), strict=True):
        cuts.append(after[0] - 1)
        assert [item for item in before if item] == list(range(max(1, cuts[-1] - 2), cuts[-1] + 1))
        assert [item for item in after if item] == list(range(cuts[-1] + 1, min(11, cuts[-1] + 3) + 1))
    assert (abs(np.bincount(cuts, minlength=11)[1:] / n - 0.1) < 0.02).all()


def test_reverse():
    rows = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]])
    assert reverse(rows).tolist() == [[4, 3, 2, 1], [6, 5, 0, 0], [7, 0, 0, 0]]


def dssrec(**numbers):
    catalog = Catalog(np.arange(30), train_counts=np.ones(32))
    small = {"dim": 8, "length": 6, "dropout": 0.0, "attention_dropout": 0.0}
    return methods.build("dssrec", catalog, **small, **numbers)[0].method.double()


def batch():
    sequences, windows = made([9, 6, 7, 8], 6)
    return window_batch(sequences.items, windows, np.array([0, 4, 9, 12, 13]))


@pytest.mark.parametrize("numbers", [{"future": "none"}, {"trusted_share": 0.0}])
def test_lambda_0_is_the_next_item_alone_and_the_label_s_bias_learns_nothing(numbers):
    torch.manual_seed(3)
    method = dssrec(**numbers)
    past, future = split(batch(), 6)
    wanted = sequence_to_item(method.read(past), method.backbone.items.table()[future[:, 0]]).mean()
    gradients = torch.autograd.grad(wanted, list(method.parameters()), allow_unused=True)
    loss = method.training_step(batch(), 0)
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    for parameter, gradient in zip(method.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert method.intents.biases.grad[1].abs().max() == 0 < method.intents.biases.grad[0].abs().max()


def test_one_intent_is_the_softmax_and_info_nce_of_the_batch():
    method = dssrec(intents=1, trusted_share=1.0)
    past, future = split(batch(), 6)
    assert (method.intents.clusters(method.backbone(past)) == 1).all()
    mine, theirs = method.read(past)[:, 0], as_label(method, reverse(future))[:, 0]
    following, rows = method.backbone.items.table()[future[:, 0]], torch.arange(len(past))
    losses = [torch.nn.functional.cross_entropy(mine @ other.t() / 8**0.5, rows) for other in (following, theirs)]
    torch.testing.assert_close(method.training_step(batch(), 0), sum(losses))


def test_what_a_choice_does_not_read_is_refused():
    for numbers, name in (
        ({"loss": "bce"}, "loss='bce'"),
        ({"trusted_share": 0.0, "stop_gradient": True}, "stop_gradient=True"),
        ({"future": "none", "trusted_share": 0.3}, r"trusted_share=0\.3"),
        ({"future": "items", "stop_gradient": True}, "stop_gradient=True"),
    ):
        with pytest.raises(InputError, match=f"{name} has no effect"):
            dssrec(**numbers)
    methods.build("dssrec", Catalog(np.arange(30), train_counts=np.ones(32)), two_stage=True, loss="bce")


def as_label(method, items):
    return method.intents(method.backbone(items), items != 0, label=True)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_step_is_both_equations(share):
    method = dssrec(trusted_share=share)
    loss = method.training_step(batch(), 0)
    past, future = split(batch(), 6)
    mine, theirs = method.read(past), as_label(method, reverse(future))
    following = method.backbone.items.table()[future[:, 0]]
    kept = math.ceil(share * mine.shape[0] * mine.shape[1])
    wanted = (
        sequence_to_item(mine, following).sum() + sequence_to_sequence(mine, theirs).flatten().sort()[0][:kept].sum()
    )
    torch.testing.assert_close(loss, wanted / len(past))


def test_gradients_reach_both_sides():
    past, future = split(batch(), 6)
    only = sorted(set(future[:, 1:].flatten().tolist()) - set(past.flatten().tolist()) - set(future[:, 0].tolist()))
    assert only, "items that stand in the later part of futures alone"
    for numbers, reached in (({}, True), ({"stop_gradient": True}, False)):
        method = dssrec(trusted_share=1.0, **numbers)
        method.training_step(batch(), 0).backward()
        by_item = method.backbone.items.weight.grad[only].abs().amax(1)
        assert bool((by_item > 0).all()) == reached and bool((by_item == 0).all()) != reached
        assert bool(method.intents.biases.grad[1].abs().max() > 0) == reached


@pytest.mark.parametrize(("future", "most"), [("next-three", 3), ("items", 99)])
def test_single_items_of_the_future(future, most):
    method = dssrec(future=future)
    past, coming = split(batch(), 6)
    mine, table = method.read(past), method.backbone.items.table()
    slow = 0.0
    for row in range(len(past)):
        items = coming[row][coming[row] > 0][:most]
        losses = sequence_to_item(mine, table[coming[:, 0]], table[items], torch.full((len(items),), row))
        slow += losses.mean().item() / len(past)
    assert method.training_step(batch(), 0).item() == pytest.approx(slow)


@pytest.mark.parametrize("block", ["original", "bert"])
@pytest.mark.parametrize("kind", ["transformer", "recurrent", "convolutional"])
def test_the_intents_sit_on_any_causal_encoder(kind, block):
    catalog = Catalog(np.arange(30), train_counts=np.ones(32))
    items = IdEmbedding(catalog, 8)
    encoder = {
        "transformer": lambda: Transformer(8, heads=1, length=6, dropout=0.0, block=block),
        "recurrent": lambda: Recurrent(8, hidden=16, length=6, dropout=0.0),
        "convolutional": lambda: Convolutional(8, length=6, dropout=0.0),
    }[kind]()
    method = DSSRec(Backbone(items, encoder), intents=K).train()
    method.training_step(batch(), 0).backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert method.queries(batch()).shape == (5, K, 8)


@pytest.mark.parametrize("model", ["gru4rec", "caser"])
def test_another_model_is_one_argument_away(cycle, model):
    run = recloom.train("dssrec", cycle, progress=False, model=model, dim=8, length=10, epochs=1)
    assert np.isfinite(run.history["loss/total"].to_numpy()).all()
    for name, value in (("layers", 3), ("block", "bert"), ("attention_dropout", 0.0)):
        with pytest.raises(InputError, match=f"{name}=.*model='{model}' reads dim, length, dropout alone"):
            methods.build("dssrec", cycle.catalog, model=model, **{name: value})
    with pytest.raises(InputError, match="model='gru' is not known; choose one of sasrec, gru4rec, caser"):
        methods.build("dssrec", cycle.catalog, model="gru")


def test_an_encoder_that_sees_both_sides_alone_is_refused():
    class Bidirectional(Transformer):
        contexts = frozenset({"bidirectional"})

    items = IdEmbedding(Catalog(np.arange(30), train_counts=np.ones(32)), 8)
    with pytest.raises(InputError, match="cannot read a 'causal' context"):
        DSSRec(Backbone(items, Bidirectional(8, heads=1, length=6)))


def test_the_order_of_the_future_matters():
    method, items = dssrec().eval(), torch.tensor([[1, 2, 3], [4, 0, 0]])
    one, two = as_label(method, items), as_label(method, reverse(items))
    assert (one[0] - two[0]).abs().max() > 1e-4
    torch.testing.assert_close(one[1], two[1])


def test_wrong_numbers_are_refused():
    for numbers, message in (
        ({"future": "all"}, "next-three"),
        ({"trusted_share": 1.5}, "trusted_share=1.5"),
        ({"intents": 0}, "intents=0"),
        ({"cuts": "some"}, "choose one of all, one"),
    ):
        with pytest.raises(InputError, match=message):
            dssrec(**numbers)


@pytest.mark.parametrize("grouping", ["random", "length"])
def test_pairs_are_dealt_out_in_equal_numbers(cycle, grouping):
    windows = past_and_future(cycle.sequences, cycle.split.train_stop, 10)
    batches = list(TrainingBatches(cycle.sequences.items, windows, batch_size=128, counted="rows", grouping=grouping))
    assert sum(map(len, batches)) == len(windows) == 300 * 7
    sizes = sorted(map(len, batches))
    assert sizes[1] >= 127 and sizes[-1] <= 128 and len(batches) == 17


def test_recommendations_say_which_intent_they_come_from(cycle):
    run = recloom.train("dssrec", cycle, progress=False, dim=8, length=10, epochs=1, intents=3)
    queries = run.method.queries(SequenceBatch(torch.tensor([-1]), torch.tensor([[3, 4, 5]])))
    assert queries.shape == (1, 3, 8)
    frame = run.recommend([[103, 104, 105]], k=20).frame
    assert set(frame["intent"].to_list()) <= {0, 1, 2} and frame.height == 20


def test_two_stages_leave_a_next_item_model(cycle):
    run = recloom.train("dssrec", cycle, progress=False, dim=8, length=10, epochs=1, two_stage=True)
    assert type(run.method).__name__ == "NextItemPrediction" and run.history.height == 2
    first, second = methods.build("dssrec", cycle.catalog, two_stage=True, batch_size=32, seen_items=True)
    assert first.method.seen_items is None and second.method.seen_items is not None
    assert first.method.backbone is second.method.backbone and (first.batch_size, second.batch_size) == (32, 32)


def test_popularity_adds_the_logarithm_of_counts_to_what_the_loss_compares(cycle):
    counts = torch.from_numpy(cycle.catalog.train_counts).clamp(min=1)
    plain, popular = (
        methods.build("dssrec", cycle.catalog, dim=8, popularity=weight)[0].method.eval() for weight in (0.0, 1.0)
    )
    popular.load_state_dict(plain.state_dict())
    rows, items = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.arange(1, cycle.n_items + 1)
    asked = SequenceBatch(torch.arange(2), rows)
    compared = plain.score(asked, items) / math.sqrt(plain.backbone.encoder.dim)
    found = popular.score(asked, items) / math.sqrt(plain.backbone.encoder.dim)
    torch.testing.assert_close(found, compared + counts[items].log())
    with pytest.raises(InputError, match=r"popularity=1\.0 has no effect: two_stage"):
        methods.build("dssrec", cycle.catalog, popularity=1.0, two_stage=True)
