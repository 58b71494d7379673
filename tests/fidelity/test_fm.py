"""The factorization machine against its double loop over features."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import recloom
from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.module import SequenceData, TrainingBatches
from recloom.data.negatives import ActionsWithNegatives
from recloom.data.windows import sliding
from recloom.errors import InputError
from recloom.methods.fm import FactorizationMachine

OF = {1: [1, 3], 2: [2], 3: [], 4: [1, 2, 3]}


def catalog(attributes=True, counts=(0, 1, 1, 1, 1, 0)):
    lists = [OF[i] if attributes else [] for i in range(1, 5)]
    return Catalog(
        np.arange(4),
        attribute_names=["x", "y", "z"] if attributes else [],
        attribute_offsets=np.cumsum([0, 0, *map(len, lists), 0]),
        attribute_values=np.array([a for of in lists for a in of], dtype=np.int32),
        train_counts=np.array(counts),
        n_users=3,
    )


def machine(**options):
    torch.manual_seed(0)
    method = FactorizationMachine(catalog(**options), 5).double()
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter)
    return method


def slow(method, user, item):
    """Every feature with its value, its weight and its vector; all pairs."""
    users = [(1.0, method.user_weights.weight[user, 0], method.users.weight[user])]
    features = [*users, (1.0, method.item_weights[item, 0], method.items[item])]
    if method.attributes is not None and OF[item]:
        vectors, weights = method.attributes.weight, method.attribute_weights.weight[:, 0]
        share = torch.stack([vectors[a] for a in OF[item]]).mean(0), sum(weights[a] for a in OF[item]) / len(OF[item])
        features.append((1.0, share[1], share[0]))
    total = method.bias + sum(x * w for x, w, _ in features)
    for one in range(len(features)):
        for two in range(one + 1, len(features)):
            total = total + features[one][0] * features[two][0] * (features[one][2] @ features[two][2])
    return total


def batch(users, items=None, targets=None):
    items = torch.ones(len(users), 1, dtype=torch.int64) if items is None else items
    return SequenceBatch(torch.tensor(users), items, targets)


@pytest.mark.parametrize("attributes", [True, False])
def test_full_ranking_is_the_double_loop(attributes):
    method = machine(attributes=attributes)
    found = (method.queries(batch([0, 1, 2]))[:, 0] @ method.catalogue().t())[:, 1:5]
    wanted = torch.stack([torch.stack([slow(method, user, item) for item in range(1, 5)]) for user in range(3)])
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(method.score(batch([0, 1, 2]), torch.arange(1, 5)), wanted)


def test_the_order_of_attributes_is_of_no_account_and_an_unknown_user_is_the_mean():
    method = machine()
    one = method.catalogue()[4]
    method.attributes.of_items.values[-3:] = torch.tensor([3, 1, 2])
    torch.testing.assert_close(method.catalogue()[4], one)
    found = method.queries(batch([-1]))[0, 0]
    torch.testing.assert_close(found[:5], method.users.weight.mean(0))
    torch.testing.assert_close(found[-1], method.user_weights.weight.mean() + method.bias)


def test_an_item_never_trained_on_is_its_attributes_alone():
    method = machine(counts=(0, 1, 1, 1, 0, 0))
    cold = method.catalogue()[4]
    vectors = method.attributes.weight[1:].mean(0)
    torch.testing.assert_close(cold[:5], vectors)
    torch.testing.assert_close(cold[5], method.attribute_weights.weight[1:].mean())
    assert method.scores_cold_items and not machine(attributes=False).scores_cold_items


def test_without_attributes_an_item_never_trained_on_keeps_what_negatives_taught():
    method = machine(attributes=False, counts=(0, 1, 1, 1, 0, 0))
    wanted = torch.stack([slow(method, user, 4) for user in range(3)])
    torch.testing.assert_close(method.score(batch([0, 1, 2]), torch.tensor([4]))[:, 0], wanted)


def test_the_loss_is_bce_of_every_action_against_its_negatives():
    method = machine()
    method.actions.negatives = 2
    asked = batch([0, 2], torch.tensor([[1, 2], [3, 0]]), torch.tensor([[2, 3], [4, 0]]))
    whole = [[1, 2, 3], [3, 4]]
    rows, items, _ = method.actions(asked, method.generator)
    assert rows.tolist() == [0, 0, 0, 1, 1] and items.tolist() == [*whole[0], *whole[1]]
    method.generator.manual_seed(3)
    loss = method.training_step(asked, 0)
    from recloom.data.negatives import uniform_outside

    drawn = uniform_outside(asked.whole(), (2, 3, 2), 4, torch.Generator().manual_seed(3))
    terms = []
    for row, user in enumerate((0, 2)):
        for at, item in enumerate(whole[row]):
            terms.append(F.softplus(-slow(method, user, item)))
            terms[-1] = terms[-1] + sum(F.softplus(slow(method, user, int(i))) for i in drawn[row, at])
    torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_every_action_of_a_history_counts_once(cycle):
    windows = SequenceData(cycle, sliding, length=3).windows
    actions, generator = ActionsWithNegatives(cycle.n_items, 1, 3), torch.Generator()
    batches = TrainingBatches(cycle.sequences.items, windows, batch_size=64)
    counted = torch.cat([actions(batch, generator)[1] for batch in batches])
    found = torch.bincount(counted, minlength=32)[1:-1]
    assert found.tolist() == cycle.catalog.train_counts[1:-1].tolist()


def test_cold_items_beat_chance_by_their_attributes():
    draw, rows = np.random.default_rng(0), []
    for user in range(200):
        group = user % 4
        rows += [(user, group * 10 + int(i)) for i in draw.permutation(8)[:6]] + [(user, group * 10 + 9)]
    import polars as pl

    log = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").with_columns(timestamp=pl.int_range(pl.len()))
    items = pl.DataFrame({"item_id": sorted({i for _, i in rows})}).with_columns(
        attributes=pl.concat_list(pl.format("group {}", pl.col("item_id") // 10))
    )
    data = recloom.prepare(log, items=items, min_user=0, min_item=0)
    run = recloom.train("fm", data, progress=False, dim=16, lr=1e-2, epochs=30)
    catalog = data.catalog
    assert (catalog.train_counts[catalog.encode([9, 19, 29, 39])] == 0).all()
    asked = batch(list(range(200)))
    scores = run.method.score(asked, torch.from_numpy(catalog.encode([9, 19, 29, 39])))
    assert (scores.argmax(1) == torch.arange(200) % 4).float().mean() > 0.9, "by chance a quarter"


def test_users_of_other_data_are_refused():
    with pytest.raises(InputError, match=r"user 3 .* among the 3"):
        machine().queries(batch([0, 3]))
