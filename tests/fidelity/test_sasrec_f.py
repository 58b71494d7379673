"""SASRec_F against loops, against SASRec, and on items that nobody took in training."""

import numpy as np
import polars as pl
import pytest
import torch

import recloom
from recloom import methods
from recloom.data.batch import SequenceBatch, history_batch
from recloom.data.catalog import Catalog
from recloom.errors import InputError
from recloom.methods import sasrec, sasrec_f

LISTS = [[1, 2], [3], [], [2, 4], [1, 3, 4], [2], [4]]
ITEMS, DIM = len(LISTS), 6
BATCH = SequenceBatch(torch.arange(3), torch.tensor([[3, 1, 4, 5], [2, 6, 0, 0], [7, 7, 2, 0]]))
SMALL = {"dim": DIM, "layers": 2, "heads": 2, "length": 8, "dropout": 0.0}


def catalog_of(lists=LISTS):
    return Catalog(
        np.arange(len(lists)),
        attribute_names=list("abcd"),
        attribute_offsets=np.cumsum([0, 0, *map(len, lists), 0]),
        attribute_values=np.concatenate(lists).astype(np.int32),
    )


def drawn(backbone):
    """The backbone in float64 with weights that matter."""
    torch.manual_seed(0)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return backbone.double().eval()


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_the_input_is_a_linear_map_of_item_and_attributes(pooling):
    backbone = drawn(sasrec_f.make_backbone(catalog_of(), pooling=pooling, **SMALL))
    items, encoder = backbone.items, backbone.encoder
    own, of = items.ids.weight.detach().numpy(), items.attributes.weight.detach().numpy()
    w, b = items.join.weight.detach().numpy(), items.join.bias.detach().numpy()
    with torch.no_grad():
        entered = encoder.norm(encoder._place(items(BATCH.items), encoder.positions(BATCH.valid)))
    for row, history in enumerate(BATCH.items.tolist()):
        for position, item in enumerate(value for value in history if value):
            total = sum((of[value] for value in LISTS[item - 1]), np.zeros(DIM))
            pooled = total / max(1, len(LISTS[item - 1])) if pooling == "mean" else total
            x = w @ np.concatenate([own[item], pooled]) + b + encoder.position.weight[position].detach().numpy()
            slow = (x - x.mean()) / x.std() * encoder.norm.weight.detach().numpy() + encoder.norm.bias.detach().numpy()
            np.testing.assert_allclose(entered[row, position], slow, rtol=1e-9)


@pytest.mark.parametrize("join", ["concat", "mean"])
def test_without_attributes_in_the_join_it_is_sasrec(join):
    plain = drawn(sasrec.make_backbone(catalog_of(), **SMALL))
    joint = sasrec_f.make_backbone(catalog_of(), join=join, **SMALL).double().eval()
    joint.encoder.load_state_dict(plain.encoder.state_dict())
    joint.items.ids.load_state_dict(plain.items.state_dict())
    if join == "concat":
        joint.items.join.weight.data = torch.eye(DIM, 2 * DIM, dtype=torch.float64)
    else:
        joint.items.attributes.weight.data.zero_()
    assert torch.equal(joint(BATCH.items)[BATCH.valid], plain(BATCH.items)[BATCH.valid])
    assert torch.equal(joint.items.table(), plain.items.table())
    joint.items.attributes.weight.data.normal_()
    if join == "concat":
        joint.items.join.weight.data.normal_()
    assert not torch.allclose(joint(BATCH.items), plain(BATCH.items))


def test_scores_are_against_the_items_own_vectors_unless_asked():
    for scored_by in ("ids", "items"):
        method = methods.build("sasrec-f", catalog_of(), scored_by=scored_by, **SMALL)[0].method
        drawn(method)
        every = torch.arange(1, ITEMS + 1)
        table = method.backbone.items.ids.weight if scored_by == "ids" else method.backbone.items(torch.arange(9))
        wanted = method.backbone.last(BATCH.items) @ table[every].t()
        torch.testing.assert_close(method.score(BATCH, every), wanted)


def test_the_order_of_attributes_is_irrelevant():
    one, two = (
        drawn(sasrec_f.make_backbone(catalog_of(lists), **SMALL)) for lists in (LISTS, [x[::-1] for x in LISTS])
    )
    torch.testing.assert_close(one(BATCH.items), two(BATCH.items))


def test_data_without_attributes_is_refused():
    with pytest.raises(InputError, match="no attributes"):
        methods.build("sasrec-f", Catalog(np.arange(5)))


GROUPS, SIZE = 6, 8


def log_with_cold_items(n_users=600, length=9):
    """Groups follow each other in a circle; every fourth user ends at the item of a group that nobody took before."""
    draw = np.random.default_rng(0)
    group = (draw.integers(0, GROUPS, n_users)[:, None] + np.arange(length)) % GROUPS
    items = group * SIZE + draw.integers(1, SIZE, (n_users, length))
    cold = np.arange(n_users) % 4 == 0
    items[cold, -1] = group[cold, -1] * SIZE
    return items, cold


def places_of_cold_items(method, **numbers):
    """The place, from 0, of the cold item among all for each user who took one."""
    items, cold = log_with_cold_items()
    n_users, length = items.shape
    log = {"user_id": np.repeat(np.arange(n_users), length), "item_id": items.ravel()}
    table = {
        "item_id": np.arange(GROUPS * SIZE),
        "attributes": [["thing", f"group {item // SIZE}"] for item in range(GROUPS * SIZE)],
    }
    data = recloom.prepare(pl.DataFrame(log), time=None, items=pl.DataFrame(table), min_user=0, min_item=0)
    assert (data.catalog.train_counts[1:-1] == 0).sum() == GROUPS
    shape = {"dim": 16, "layers": 1, "length": 10, "dropout": 0.1, "lr": 5e-3, "epochs": 15, "batch_size": 64}
    run = recloom.train(method, data, progress=False, **shape, **numbers)
    asked = history_batch([data.catalog.encode(row) for row in items[cold, :-1]], run.method.length)
    with torch.no_grad():
        scores = run.method.score(asked, torch.arange(1, data.n_items + 1)).numpy()
    wanted = scores[np.arange(len(scores)), data.catalog.encode(items[cold, -1]) - 1]
    return (scores > wanted[:, None]).sum(1)


def test_items_never_seen_are_found_by_their_attributes():
    """The best place of a cold item is behind the 7 known ones of its group; by chance it would be 23.5."""
    found = places_of_cold_items("sasrec-f", scored_by="items", id_dropout=0.2)
    assert found.mean() < 9 and (found < SIZE).mean() > 0.8
    blind = places_of_cold_items("sasrec")
    assert blind.mean() > 15 and (blind < SIZE).mean() < 0.4
