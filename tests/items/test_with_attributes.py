"""Items joined with their attributes: the joins, the table, and items that were never seen."""

import pytest
import torch

from recloom.errors import InputError
from recloom.items import ItemsWithAttributes, with_attributes

DIM = 5


def items_of(catalog, **choices):
    torch.manual_seed(0)
    return ItemsWithAttributes(catalog, DIM, std=0.5, **choices).eval()


def test_the_joins_are_what_they_say(catalog):
    ids = torch.tensor([[3, 4, 1], [9, 0, 0]])
    for join in ("concat", "mean", "side-by-side"):
        items = items_of(catalog, join=join)
        own, attributes = items.ids(ids), items.attributes(ids)
        if join == "concat":
            items.join.bias.data.fill_(0.3)
            wanted = own @ items.join.weight[:, :DIM].t() + attributes @ items.join.weight[:, DIM:].t() + 0.3
            wanted = wanted * (ids > 0)[..., None]
        else:
            wanted = own + attributes if join == "mean" else torch.cat([own, attributes], -1)
        torch.testing.assert_close(items(ids), wanted)
        assert not items(ids)[1, 1:].any(), "padding is zero"
        assert items.dim == items(ids).shape[-1] and items.table_dim == DIM


@pytest.mark.parametrize("join", ["concat", "mean"])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_the_table_holds_own_or_joined_vectors(catalog, join, pooling, monkeypatch):
    monkeypatch.setattr(with_attributes, "ROWS_AT_ONCE", 7)
    assert items_of(catalog, join=join, pooling=pooling).table() is not None
    by_ids, by_items = (items_of(catalog, join=join, pooling=pooling, scored_by=by) for by in ("ids", "items"))
    assert torch.equal(by_ids.table(), by_ids.ids.weight)
    table = by_items.table()
    assert table.shape == (catalog.n_rows, DIM) and torch.isfinite(table).all()
    every = torch.arange(1, catalog.n_items + 1)
    torch.testing.assert_close(table[every], by_items(every))
    table.sum().backward()
    assert by_items.ids.weight.grad.any() and by_items.attributes.weight.grad.any()


def test_items_never_seen_are_known_by_their_attributes_alone(make_catalog):
    lists = [[1], [1, 2], [1, 2], [3]]
    catalog = make_catalog(lists, 3, train_counts=[5, 4, 0, 0])
    items = items_of(catalog, join="mean", scored_by="items")
    table, unseen = items.table(), torch.tensor([3, 4])
    torch.testing.assert_close(table[unseen], items.attributes(unseen))
    torch.testing.assert_close(items(unseen), items.attributes(unseen))
    seen = torch.tensor([1, 2, catalog.mask_id])
    torch.testing.assert_close(table[seen], items.ids(seen) + items.attributes(seen))
    table.sum().backward()
    assert not items.ids.weight.grad[unseen].any() and items.ids.weight.grad[1:3].any()


def test_own_vectors_stay_where_asked_or_where_nothing_is_known(make_catalog):
    known, unknown = (make_catalog([[1], [2]], 2, train_counts=counts) for counts in ([3, 0], None))
    for catalog, choices in ((known, {"cold": "as-is"}), (unknown, {})):
        items = items_of(catalog, join="mean", scored_by="items", **choices)
        ids = torch.tensor([1, 2])
        torch.testing.assert_close(items.table()[ids], items.ids(ids) + items.attributes(ids))
    published = items_of(known, join="mean")
    torch.testing.assert_close(
        published(torch.tensor([2])), (published.ids.weight + published.attributes.weight[2])[2:3]
    )


def test_own_vectors_are_dropped_at_the_rate_while_training(catalog):
    items = items_of(catalog, join="side-by-side", id_dropout=0.25)
    ids = torch.full((20_000,), 5)
    assert items(ids)[:, :DIM].any(1).all()
    items.train()
    vectors = items(ids)
    kept = vectors[:, :DIM].any(1)
    assert kept.float().mean() == pytest.approx(0.75, abs=0.02)
    torch.testing.assert_close(vectors[kept][0, :DIM], items.ids.weight[5])
    torch.testing.assert_close(vectors[:, DIM:], items.attributes(ids))


def test_what_cannot_be_is_refused(catalog):
    for wrong in ({"join": "sum"}, {"scored_by": "titles"}, {"cold": "hot"}, {"id_dropout": 1.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            ItemsWithAttributes(catalog, DIM, **wrong)
    with pytest.raises(InputError, match="side-by-side"):
        ItemsWithAttributes(catalog, DIM, join="side-by-side", scored_by="items")


def test_what_it_knows_of_the_catalog_is_not_saved(catalog):
    names = set(items_of(catalog).state_dict())
    assert names == {"ids.weight", "attributes.weight", "join.weight", "join.bias"}
