"""MMInfoRec: its loss by the authors' nested loops, its memory, and what is trained and kept."""

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
from recloom.errors import InputError
from recloom.methods import mminforec
from recloom.nn.memory import Memory
from recloom.nn.popularity import Popularity
from recloom.objectives.mince import mince

ROWS = [[3, 1, 4, 3], [2, 6, 0, 0], [4, 4, 2, 0]]
TARGETS = [[1, 4, 3, 5], [6, 1, 0, 0], [4, 2, 3, 0]]
QUIET = {"dim": 8, "length": 8, "dropout": 0.0, "key_dropout": 0.0, "memory_dropout": 0.0}
QUIET |= {"init": "default", "precision": "fp32"}


def batch(n=3):
    return SequenceBatch(torch.arange(n), torch.tensor(ROWS[:n]), torch.tensor(TARGETS[:n]))


def make(data, **numbers):
    torch.manual_seed(0)
    quiet = {name: value for name, value in QUIET.items() if name != "precision" or numbers.get("loss") != "bpr"}
    method = methods.build("mminforec", data.catalog, **{**quiet, **numbers})[0].method
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    method.backbone.items.ids.weight.data[0] = 0
    return method.double()


def histories():
    return [[*[i for i in row if i], [t for t in target if t][-1]] for row, target in zip(ROWS, TARGETS, strict=True)]


def rolled(method, row, steps):
    """Every prediction of a history: from which position, how many steps ahead, and what is predicted."""
    states = method.backbone(torch.tensor([row[:-1]]))[0]
    for at in range(len(row) - 1):
        prediction, hidden = method.memory(states[at]), torch.zeros(1, states.shape[1]).double()
        for step in range(1, steps + 1):
            if step > 1:
                hidden = method.roll(prediction[None], hidden)
                prediction = method.memory(hidden[0])
            yield at, step, prediction


def slow(method, *, n_rows=3, copies=1, steps=1, counted=True, distinct=False, single=False, own=True, others=True):
    """Every prediction against every occurrence of every item of the batch, one after another."""
    of_users = histories()[:n_rows]
    loss, n, valid = 0.0, 0, 0
    table, scale = method.backbone.items.table(), method.logit_scale
    places = [(user, at, item) for user, row in enumerate(of_users) for at, item in enumerate(row)]
    if distinct:
        places = list({item: (user, at, item) for user, at, item in places}.values())
    for user, row in enumerate(of_users):
        for at, step, prediction in rolled(method, row, steps):
            n += 1
            if at + step >= len(row):
                continue
            valid += 1
            target = row[at + step]
            every, right = [], []
            for whose, _, item in places:
                if item != target and ((whose == user and not own) or (whose != user and not others)):
                    continue
                value = copies * math.exp(scale * (prediction @ table[item]).item())
                every.append(value)
                if item == target:
                    right.append(value)
            loss += math.log(sum(every)) - math.log(right[0] if single else sum(right))
    return loss / (n if counted else valid)


@pytest.mark.parametrize("model", ["sasrec", "gru4rec"])
@pytest.mark.parametrize("items", ["attcc", "att", "meancc"])
def test_the_loss_is_the_authors_nested_loops(cycle_with_attributes, items, model):
    method = make(cycle_with_attributes, items=items, model=model, copies=1, logit_scale=0.7)
    assert method.training_step(batch(), 0).item() == pytest.approx(slow(method), rel=1e-8)


@pytest.mark.parametrize("items", ["attcc", "att"])
def test_items_and_rows_are_read_by_layers_of_pytorch(layer_of_pytorch, items):
    """All items padded to the most attributes, as in the authors' code: 2, 3, 1, 4 and none; item 6 is untrained."""
    owned = [[1, 2], [1, 3, 5], [4], [2, 3, 4, 5], [], [2]]
    offsets = np.cumsum([0, 0, *map(len, owned), 0])
    counts = np.array([0, 1, 1, 1, 1, 1, 0, 0])
    catalog = Catalog(np.arange(6), None, list("abcde"), offsets, np.concatenate(owned), counts, counts)
    method = make(SimpleNamespace(catalog=catalog), items=items, layers=2, heads=2).eval()
    table, attributes = method.backbone.items.ids.weight.detach(), method.backbone.items.attributes.weight.detach()
    wide = torch.tensor([row + [0] * (4 - len(row)) for row in owned])
    own = torch.cat([table[1:6], torch.zeros(1, 8).double()])
    tokens = torch.cat([own[:, None], attributes[wide]], 1)
    hidden = F.pad(wide == 0, (1, 0))
    for block in method.backbone.items.blocks:
        tokens = layer_of_pytorch(block, 1e-5)(tokens, src_key_padding_mask=hidden)
    encoded = tokens[:, 0] if items == "att" else torch.cat([own, tokens[:, 0]], 1)
    torch.testing.assert_close(method.encode(torch.arange(1, 7))[0], encoded)
    torch.testing.assert_close(method.backbone.items.table()[1:7], encoded)
    rows = torch.tensor([[3, 1, 4, 6], [2, 5, 0, 0]])
    states = F.embedding(rows, F.pad(encoded, (0, 0, 1, 0))) + method.backbone.encoder.position.weight[:4]
    for block in method.backbone.encoder.blocks:
        states = layer_of_pytorch(block, 1e-5)(states, src_mask=torch.full((4, 4), -torch.inf).double().triu(1))
    torch.testing.assert_close(method.backbone(rows)[rows > 0], states[rows > 0])


def test_dropout_is_in_all_places_of_the_layers_and_no_key_dropout_reaches_the_rows(cycle_with_attributes):
    method = make(cycle_with_attributes, dropout=0.3)
    for block in [*method.backbone.items.blocks, *method.backbone.encoder.blocks]:
        assert (block.dropout, block.inner_dropout, block.attention.dropout) == (0.3, 0.3, 0.3)
    assert method.backbone.encoder.dropout == 0.3
    method, read = make(cycle_with_attributes, key_dropout=0.9).train(), []
    method.backbone.encoder.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    method.training_step(batch(), 0)
    torch.testing.assert_close(read[0], method.backbone.items.table()[torch.tensor(ROWS)])


def test_a_recurrent_unit_reads_what_came_before(cycle_with_attributes):
    method = make(cycle_with_attributes, model="gru4rec", steps=2)
    before = method.training_step(batch(), 0)
    before.backward()
    unit = dict(method.backbone.encoder.unit.named_parameters())
    assert unit and all(parameter.grad.abs().sum() > 0 for parameter in unit.values())
    torch.optim.SGD(method.parameters(), lr=1e-2).step()
    assert method.training_step(batch(), 0) < before


def test_without_dropout_copies_change_nothing(cycle_with_attributes):
    one, three = (make(cycle_with_attributes, copies=q).training_step(batch(), 0) for q in (1, 3))
    torch.testing.assert_close(one, three)


@pytest.mark.parametrize("counted", [True, False])
def test_later_steps_are_rolled_and_those_beyond_the_end_do_not_add(cycle_with_attributes, counted):
    rule = "counted" if counted else "left-out"
    method = make(cycle_with_attributes, steps=3, invalid_rows=rule, copies=2)
    assert method.training_step(batch(), 0).item() == pytest.approx(slow(method, steps=3, counted=counted), rel=1e-8)


@pytest.mark.parametrize(("steps", "counted"), [(1, True), (3, True), (3, False)])
def test_positions_that_ask_for_nothing_are_not_trained(cycle_with_attributes, steps, counted):
    """Rows of prefixes and overlapping rows hold targets that belong to other rows."""
    method = make(cycle_with_attributes, steps=steps, invalid_rows="counted" if counted else "left-out")
    items = torch.tensor([[3, 1, 4, 3, 0], [2, 6, 1, 4, 2]])
    targets = torch.tensor([[0, 0, 0, 5, 0], [0, 1, 4, 2, 6]])
    found = method.training_step(SequenceBatch(torch.arange(2), items, targets), 0).item()
    table, total, n = method.backbone.items.table(), 0.0, 0
    of_all = torch.tensor([3, 1, 4, 3, 5, 2, 6, 1, 4, 2, 6])
    for row, asked in (([3, 1, 4, 3, 5], {4}), ([2, 6, 1, 4, 2, 6], {2, 3, 4, 5})):
        for at, step, prediction in rolled(method, row, steps):
            if at + step in asked:
                logits = 0.3 * table[of_all] @ prediction
                total += (logits.logsumexp(0) - logits[of_all == row[at + step]].logsumexp(0)).item()
                n += 1
    assert n == {1: 5, 3: 14}[steps], "the first of the targets has no position three places before it"
    assert found == pytest.approx(total / (5 * steps if counted else n), rel=1e-8)


def test_each_item_once_is_the_softmax_over_the_distinct_items(cycle_with_attributes):
    method = make(cycle_with_attributes, candidates="distinct", copies=1)
    found = method.training_step(batch(), 0)
    assert found.item() == pytest.approx(slow(method, distinct=True), rel=1e-8)
    distinct = torch.tensor([1, 2, 3, 4, 5, 6])
    states, real = method.memory(method.backbone(batch().items)), batch().targets != 0
    logits = method.logit_scale * states[real] @ method.backbone.items.table()[distinct].t()
    torch.testing.assert_close(found, F.cross_entropy(logits, batch().targets[real] - 1))


def test_a_single_positive(cycle_with_attributes):
    method = make(cycle_with_attributes, positives="single")
    assert method.training_step(batch(), 0).item() == pytest.approx(slow(method, single=True), rel=1e-8)


@pytest.mark.parametrize(("temporal", "general"), [(True, False), (False, True)])
def test_candidates_of_one_s_own_history_or_of_others(cycle_with_attributes, temporal, general):
    method = make(cycle_with_attributes, temporal=temporal, general=general, candidates="distinct")
    found = method.training_step(batch(), 0).item()
    total, n, table = 0.0, 0, method.backbone.items.table()
    for user, row in enumerate(histories()):
        states = method.memory(method.backbone(torch.tensor([row[:-1]]))[0])
        of_others = {i for other, items in enumerate(histories()) if other != user for i in items}
        for at in range(len(row) - 1):
            kept = (set(row) if temporal else set()) | (of_others if general else set()) | {row[at + 1]}
            scores = {i: 0.3 * (states[at] @ table[i]).item() for i in kept}
            total += math.log(sum(map(math.exp, scores.values()))) - scores[row[at + 1]]
            n += 1
    assert found == pytest.approx(total / n, rel=1e-8)


@pytest.mark.parametrize("positives", ["all", "single"])
@pytest.mark.parametrize("n_rows", [3, 1])
@pytest.mark.parametrize(("temporal", "general"), [(True, False), (False, True)])
def test_every_occurrence_of_the_target_is_a_right_answer_whatever_is_left_out(
    cycle_with_attributes, temporal, general, n_rows, positives
):
    method = make(cycle_with_attributes, temporal=temporal, general=general, positives=positives, copies=2)
    found = method.training_step(batch(n_rows), 0)
    wanted = slow(method, n_rows=n_rows, single=positives == "single", own=temporal, others=general)
    assert found.item() == pytest.approx(wanted, rel=1e-8, abs=1e-12)
    found.backward()
    grads = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
    assert grads and all(torch.isfinite(grad).all() for grad in grads)


def test_bpr_ranks_the_target_above_one_other_item_of_the_batch(cycle_with_attributes, monkeypatch):
    method = make(cycle_with_attributes, loss="bpr", copies=2)
    drawn = torch.tensor([0, 1, 1, 2, 3, 4, 0, 2, 3])  # of the five distinct items that are not the target

    def given(high, shape, **options):
        assert (high, shape) == (5, drawn.shape)
        return drawn

    monkeypatch.setattr(torch, "randint", given)
    found, total, at = method.training_step(batch(), 0).item(), 0.0, 0
    monkeypatch.undo()
    table = method.backbone.items.table()
    for row in histories():
        states = method.memory(method.backbone(torch.tensor([row[:-1]]))[0])
        for state, target in zip(states, row[1:], strict=True):
            other = [item for item in range(1, 7) if item != target][drawn[at]]
            total += math.log(1 + math.exp(0.3 * (state @ (table[other] - table[target])).item()))
            at += 1
    assert found == pytest.approx(total / at, rel=1e-8)
    with pytest.raises(InputError, match="whole batch"):
        make(cycle_with_attributes, loss="bpr", temporal=False)


def test_where_every_item_stands_as_often_counts_make_no_difference(cycle_with_attributes):
    rows = torch.tensor([[3, 1, 4], [2, 4, 1]])
    twice = SequenceBatch(torch.arange(2), rows, torch.tensor([[1, 4, 2], [4, 1, 3]]))
    found = [
        make(cycle_with_attributes, candidates=candidates, positives="all").training_step(twice, 0)
        for candidates in ("occurrences", "distinct")
    ]
    torch.testing.assert_close(*found)


def test_a_memory_of_nothing_leaves_the_state():
    memory, states = Memory(4, 3, dropout=0.0), torch.randn(6, 4)
    memory.slots.data.zero_()
    assert torch.equal(memory(states), states)


def test_what_a_choice_does_not_read_is_refused(cycle_with_attributes):
    for numbers, name in (
        ({"loss": "bpr", "mince": "outside"}, "mince='outside'"),
        ({"loss": "bpr", "positives": "single"}, "positives='single'"),
        ({"mince": "outside", "positives": "single"}, "positives='single'"),
        ({"candidates": "distinct", "positives": "single"}, "positives='single'"),
        ({"invalid_rows": "left-out"}, "invalid_rows='left-out'"),
        ({"slots": 0, "memory_dropout": 0.5}, "memory_dropout=0.5"),
        ({"memory": "none", "slots": 7}, "slots=7"),
        ({"memory": "none", "addressing": "mlp"}, "addressing='mlp'"),
        ({"slots": 0, "memory": "plain"}, "memory='plain'"),
        ({"temperature": 2.0, "logit_scale": 5.0}, r"logit_scale=5\.0"),
        ({"model": "gru4rec", "items": "meancc", "layers": 3}, "layers=3"),
        ({"model": "gru4rec", "items": "id", "heads": 1}, "heads=1"),
    ):
        with pytest.raises(InputError, match=f"{name} has no effect"):
            methods.build("mminforec", cycle_with_attributes.catalog, **numbers)
    methods.build("mminforec", cycle_with_attributes.catalog, model="gru4rec", layers=3)


@pytest.mark.parametrize("windows", ["prefixes", "sliding"])
@pytest.mark.parametrize("left_out", ["temporal", "general"])
def test_rows_that_share_items_of_a_history_cannot_leave_any_out(cycle, windows, left_out):
    with pytest.raises(InputError, match=f"windows='{windows}': its rows hold items of one history several times"):
        methods.build("mminforec", cycle.catalog, items="id", windows=windows, **{left_out: False})


def test_the_memory_s_forms():
    torch.manual_seed(0)
    states = torch.randn(6, 4)
    one = Memory(4, 1, dropout=0.0)
    torch.testing.assert_close(one(states), states + one.slots[0])
    plain = Memory(4, 1, kind="plain", dropout=0.0)
    torch.testing.assert_close(plain(states), plain.slots.expand(6, -1))
    none = Memory(4, 0)
    assert none(states) is states and not list(none.parameters()) and none.norms().shape == (0,)
    several = Memory(4, 3, dropout=0.0)
    shares = torch.softmax(states @ several.address.weight.t() + several.address.bias, 1)
    torch.testing.assert_close(several(states), states + shares @ several.slots)
    assert several.norms().tolist() == several.slots.norm(dim=1).tolist()
    deep = Memory(4, 3, addressing="mlp", dropout=0.0)
    (one, one_bias), (two, two_bias) = ((layer.weight, layer.bias) for layer in (deep.address[0], deep.address[2]))
    shares = torch.softmax((states @ one.t() + one_bias).clamp(min=0) @ two.t() + two_bias, 1)
    torch.testing.assert_close(deep(states), states + shares @ deep.slots)
    assert one.shape == (4, 4) and len(list(deep.parameters())) == 5


def test_one_step_never_calls_the_recurrent_unit(cycle_with_attributes):
    method = make(cycle_with_attributes)
    method.training_step(batch(), 0).backward()
    assert all(parameter.grad is None for parameter in method.roll.parameters())
    assert method.backbone.items.attributes.weight.grad.abs().sum() > 0 and method.memory.slots.grad.abs().sum() > 0


def test_a_later_item_leaves_earlier_predictions(cycle_with_attributes):
    method = make(cycle_with_attributes)
    one, two = (method.memory(method.backbone(torch.tensor([[3, 1, last]]))) for last in (4, 9))
    torch.testing.assert_close(one[:, :2], two[:, :2])


def test_copies_differ_by_dropout_and_the_id_half_by_key_dropout_alone(cycle_with_attributes):
    torch.manual_seed(0)
    method = methods.build("mminforec", cycle_with_attributes.catalog, dim=8, length=8)[0].method.train()
    first, second, *_ = method.encode(torch.tensor([3, 4]))
    assert torch.equal(first[:, :8], second[:, :8]) and not torch.equal(first[:, 8:], second[:, 8:])
    method.eval()
    first, second, *_ = method.encode(torch.tensor([3, 4]))
    assert torch.equal(first, second)


def test_plain_predictive_coding_on_ids_is_one_argument_away(cycle):
    numbers = {name: value for name, value in QUIET.items() if name != "memory_dropout"}
    method = methods.build("mminforec", cycle.catalog, items="id", slots=0, copies=1, **numbers)[0].method
    assert not method.scores_cold_items
    loss = method.training_step(batch(), 0)
    states, real = method.backbone(batch().items), batch().targets != 0
    logits = 0.3 * states[real] @ method.backbone.items.table()[1:7].t()
    counts = torch.bincount(batch().whole().flatten(), minlength=7)[1:7].log()
    right = (logits + counts).gather(1, batch().targets[real][:, None] - 1)[:, 0]
    torch.testing.assert_close(loss, ((logits + counts).logsumexp(1) - right).mean())
    with pytest.raises(InputError, match=r'no attributes.*--attributes COLUMN.*items="id"'):
        methods.build("mminforec", cycle.catalog)


@pytest.mark.parametrize("items", ["attcc", "id"])
@pytest.mark.parametrize(("dim", "bound"), [(64, 1 / 8), (16, 1 / 4)])
def test_every_parameter_starts_uniform_within_one_over_the_root_of_the_width(cycle_with_attributes, items, dim, bound):
    method = methods.build("mminforec", cycle_with_attributes.catalog, items=items, dim=dim)[0].method
    for name, parameter in method.named_parameters():
        if parameter.numel() > 100:
            assert 0.9 * bound < parameter.max() <= bound and -bound <= parameter.min() < -0.9 * bound, name
    values = torch.cat([parameter.detach().flatten() for parameter in method.parameters()])
    assert values.abs().max() <= bound
    ids = method.backbone.items.ids if items == "attcc" else method.backbone.items
    assert (ids.weight[0] == 0).all()


def test_the_history_keeps_how_long_the_slots_are(cycle_with_attributes):
    numbers = {"dim": 8, "length": 8, "epochs": 2, "progress": False}
    run = recloom.train("mminforec", cycle_with_attributes, slots=6, weight_decay=1.0, **numbers)
    kept = run.history.select("memory/smallest_norm", "memory/median_norm", "memory/largest_norm").to_numpy()
    assert kept.shape == (2, 3) and (kept[:, 0] < kept[:, 1]).all() and (kept[:, 1] < kept[:, 2]).all()
    assert (kept[1] < kept[0]).all(), "decay makes slots shorter"
    best = run.history["valid/NDCG@10"].arg_max()
    norms = run.method.memory.slots.detach().norm(dim=1)
    np.testing.assert_allclose(kept[best], [norms.min(), norms.quantile(0.5), norms.max()], rtol=1e-5)
    without = recloom.train("mminforec", cycle_with_attributes, slots=0, **numbers)
    assert not [column for column in without.history.columns if column.startswith("memory/")]


def test_parameters_at_the_size_of_beauty():
    catalog = Catalog(np.arange(12_101), attribute_names=[f"a{i}" for i in range(637)])
    method = methods.build("mminforec", catalog)[0].method
    count = sum(parameter.numel() for parameter in method.parameters())
    assert count - 64 == 1_186_880, "ours has one row more, for the mask"


def test_what_does_not_fit_is_refused(cycle_with_attributes):
    for numbers, message in (
        ({"items": "mean"}, "items='mean'"),
        ({"memory": "big"}, "memory='big'"),
        ({"copies": 0}, "copies=0"),
        ({"steps": 9, "length": 8}, "steps=9"),
        ({"mince": "around"}, "mince='around'"),
        ({"temporal": False, "general": False}, "nothing to tell"),
        ({"temperature": 0.0}, r"temperature=0\.0"),
        ({"temperature": 1e-310}, "temperature=1e-310"),
        ({"logit_scale": 0.0}, r"logit_scale=0\.0"),
        ({"popularity": -1.0}, r"popularity=-1\.0"),
        ({"popularity": 1e40}, r"popularity=1e\+40"),
        ({"popularity": 1.0, "loss": "bpr"}, "only a contrast"),
        ({"popularity": 1.0, "candidates": "distinct"}, "only a contrast"),
        ({"popularity": 1.0, "general": False}, "only a contrast"),
        ({"popularity": 1.0, "windows": "prefixes"}, "only a contrast"),
        ({"loss": "bpr", "precision": "bf16"}, "precision='bf16' has no effect"),
    ):
        with pytest.raises(InputError, match=message):
            methods.build("mminforec", cycle_with_attributes.catalog, **numbers)
    half = methods.build("mminforec", cycle_with_attributes.catalog, temperature=0.5)[0].method
    assert np.isclose(half.logit_scale, 2)


def test_popularity_adds_the_logarithm_of_counts_to_scores_and_nothing_to_training(cycle_with_attributes):
    quiet = {**QUIET, "logit_scale": 0.5, "slots": 3}
    plain, popular = (make(cycle_with_attributes, **quiet, popularity=weight) for weight in (0.0, 2.0))
    counts = torch.from_numpy(cycle_with_attributes.catalog.train_counts).clamp(min=1).double()
    asked, items = batch(), torch.arange(1, cycle_with_attributes.n_items + 1)
    products = 0.5 * plain.score(asked, items)
    assert torch.allclose(0.5 * popular.score(asked, items), products + 2 * counts[items].log())
    assert torch.equal(popular.training_step(asked, 0), plain.training_step(asked, 0))
    assert (plain.bias_columns, popular.bias_columns) == (0, 1)
    warm = make(cycle_with_attributes, **{**quiet, "logit_scale": 0.3}, temperature=2.0, popularity=2.0)
    assert torch.equal(warm.catalogue(), popular.catalogue())


def test_scores_are_products_with_what_the_memory_adds(cycle_with_attributes):
    method = make(cycle_with_attributes, slots=3).eval()
    rows, items = torch.tensor([[3, 1, 4], [2, 0, 0]]), torch.arange(1, cycle_with_attributes.n_items + 1)
    states = method.backbone(rows)
    last = torch.stack([states[0, 2], states[1, 0]])
    read = method.memory.address(last).softmax(-1) @ method.memory.slots
    table = method.backbone.items.table()[items]
    torch.testing.assert_close(method.score(SequenceBatch(torch.arange(2), rows), items), (last + read) @ table.t())


def test_dropout_of_the_memory_is_on_what_it_returns():
    memory = Memory(64, 4, dropout=0.5).train()
    states = torch.randn(100, 64)
    found, kept = memory(states), memory.eval()(states)
    assert 0.45 < float((found == 0).float().mean()) < 0.55
    torch.testing.assert_close(found[found != 0], 2 * kept[found != 0])


def test_each_copy_has_its_own_key_dropout(cycle_with_attributes, monkeypatch):
    seen = []
    monkeypatch.setattr(mminforec, "multi_instance", lambda rows, keys, *_, **__: seen.append(keys) or rows.sum())
    method = make(cycle_with_attributes, copies=2, key_dropout=0.5).train()
    method.training_step(batch(), 0)
    (keys,) = seen
    encoded = method.encode(torch.arange(1, 7))
    assert keys.shape == encoded.shape and 0.3 < float((keys == 0).double().mean()) < 0.7
    assert not torch.equal(keys[0] == 0, keys[1] == 0)
    torch.testing.assert_close(keys[keys != 0], 2 * encoded[keys != 0])


def test_contrast_with_a_batch_and_popularity_finds_how_likely_items_are():
    """Free scores of one history, which ten times chose 5, 1, 1 and 3 of four items, against a batch by popularity."""
    counts, chosen = torch.tensor([0.0, 60, 30, 9, 1, 0]).double(), torch.tensor([0, 0, 0, 0, 0, 1, 2, 3, 3, 3])
    scores = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        found = mince(scores.expand(10, 4), torch.eye(4).double()[None], chosen, counts[None, 1:5].log(), scale=0.5)
        found.backward()
        return found

    optimizer.step(loss)
    popularity = Popularity(counts, 1.0, scale=0.5)
    table = popularity.of_items(F.pad(torch.eye(4).double(), (0, 0, 1, 1)))
    learned = 0.5 * (popularity.of_queries(scores.detach()) @ table.t())[0, 1:5]
    assert torch.allclose(learned.softmax(0), torch.tensor([0.5, 0.1, 0.1, 0.3]).double(), atol=1e-3)
    assert (scores.argmax(), learned.argmax()) == (3, 0)
