"""Insert, substitute, and which operator a row sees."""

import torch

from recloom.views import insert_items, one_of, substitute_items

N = 20_000


def rows(length, width=8, n=N):
    return torch.cat([torch.arange(1, length + 1), torch.zeros(width - length, dtype=torch.int64)]).repeat(n, 1)


def draws():
    return torch.Generator().manual_seed(0)


def test_so_many_items_get_their_own_before_them_and_the_order_stays():
    for length, size in ((5, 2), (8, 8), (1, 1), (3, 0)):
        items, sizes = rows(length), torch.full((N,), size)
        before = items.clone()
        found = insert_items(items, items + 100, sizes, 50, draws())
        assert torch.equal(items, before) and ((found != 0).sum(1) == length + size).all()
        inserted = found > 100
        assert (inserted.sum(1) == size).all()
        kept = found.masked_fill(inserted, 0).sort(1, descending=True).values[:, :length].flip(1)
        assert (kept == torch.arange(1, length + 1)).all()
        flat, marks = found[:, :-1], inserted[:, :-1]
        assert (found[:, 1:][marks] == flat[marks] - 100).all(), "each stands right before the item it belongs to"
        assert ((found[:, 1:] < 100) | ~inserted[:, :-1]).all()
        places = torch.zeros(length)
        for item in range(1, length + 1):
            places[item - 1] = (found == item + 100).any(1).double().mean()
        assert (places - size / length).abs().max() < 0.02, "every place is as likely"


def test_what_is_too_long_loses_its_oldest():
    found = insert_items(rows(4, 4, 1), rows(4, 4, 1) + 100, torch.tensor([4]), 5, draws())
    assert found.tolist() == [[2, 103, 3, 104, 4]]


def test_rows_of_different_lengths_do_not_mix():
    items = torch.tensor([[1, 2, 3], [4, 0, 0]])
    found = insert_items(items, items + 100, torch.tensor([0, 5]), 50, draws())
    assert found.tolist() == [[1, 2, 3], [104, 4, 0]], "no more is inserted than the row holds"


def test_a_share_is_exchanged_everywhere_alike():
    for length, ratio, size in ((8, 0.3, 2), (5, 0.1, 1), (1, 0.5, 1)):
        items = rows(length)
        before = items.clone()
        found = substitute_items(items, items + 100, ratio, draws())
        assert torch.equal(items, before)
        changed = found != items
        assert (changed.sum(1) == size).all() and torch.equal(found[changed], items[changed] + 100)
        assert (changed.double().mean(0)[:length] - size / length).abs().max() < 0.02 and not changed[:, length:].any()


def test_each_row_sees_one_allowed_operator_as_often_as_another():
    operators = [lambda items, draw, k=k: items + k * (items != 0) for k in (10, 20, 30)]
    allowed = torch.tensor([[True, True, True], [True, False, True]]).repeat(N // 2, 1)
    found = one_of(rows(3), operators, draws(), allowed)
    assert found.shape == (N, 3)
    which = (found[:, 0] - 1) // 10
    assert ((found - which[:, None] * 10) == torch.arange(1, 4)).all()
    for part, wanted in ((which[::2], [1 / 3] * 3), (which[1::2], [1 / 2, 0, 1 / 2])):
        shares = torch.bincount(part - 1, minlength=3) / len(part)
        assert (shares - torch.tensor(wanted)).abs().max() < 0.02


def test_operators_may_widen_or_shorten():
    items = rows(2, 2, 50)
    found = one_of(items, [lambda x, draw: torch.cat([x, x], 1), lambda x, draw: x[:, :1]], draws())
    assert {tuple(row) for row in found.tolist()} == {(1, 2, 1, 2), (1, 0, 0, 0)}
