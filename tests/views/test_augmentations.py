"""Crop, mask, reorder, and which two a row sees."""

import torch

from recloom.views import crop_items, floor_share, mask_share, reorder_items, two_different

MASK, N = 99, 20_000


def row(length, width=10):
    return torch.cat([torch.arange(1, length + 1), torch.zeros(width - length, dtype=torch.int64)])


def rows(length, n=N):
    return row(length).repeat(n, 1)


def draws():
    return torch.Generator().manual_seed(0)


def shares(values, size):
    return torch.bincount(values, minlength=size).double() / len(values)


def test_a_share_is_rounded_down_as_in_decimals():
    lengths = torch.arange(1, 201)
    for percent in range(1, 100):
        assert floor_share(lengths, percent / 100).tolist() == [percent * length // 100 for length in lengths.tolist()]


def test_a_crop_is_a_run_of_the_asked_length_at_a_uniform_place():
    for length, ratio, size in ((10, 0.6, 6), (7, 0.5, 3), (3, 0.2, 1), (2, 0.5, 1)):
        found = crop_items(rows(length), ratio, draws())
        assert ((found != 0).sum(1) == size).all() and (found[:, size:] == 0).all()
        assert (found[:, :size].diff(dim=1) == 1).all()
        places = shares(found[:, 0] - 1, length - size + 1)
        assert len(places) == length - size + 1 and (places - 1 / len(places)).abs().max() < 0.02


def test_a_share_of_the_items_is_masked_everywhere_alike():
    for length, ratio, size in ((10, 0.3, 3), (7, 0.5, 3), (3, 0.3, 0)):
        items = rows(length)
        found = mask_share(items, MASK, ratio, draws())
        hidden = found == MASK
        assert (hidden.sum(1) == size).all() and torch.equal(found[~hidden], items[~hidden])
        assert (hidden.double().mean(0)[:length] - size / length).abs().max() < 0.02


def test_a_run_is_shuffled_and_the_rest_stays():
    length, size = 10, 6
    items = rows(length)
    found = reorder_items(items, 0.6, draws())
    assert torch.equal(found.sort(1).values, items)
    moved = found != items
    first = torch.where(moved.any(1), moved.int().argmax(1), 0)
    last = torch.where(moved.any(1), 9 - moved.flip(1).int().argmax(1), 0)
    assert (last - first < size).all() and (last - first).max() == size - 1
    middle = found[:, 5]  # every run of 6 of 10 holds the sixth item; with the run at s it is uniform in s..s + 5
    expected = torch.zeros(11).double()
    for start in range(5):
        expected[start + 1 : start + 7] += 1 / 30
    assert (shares(middle, 11) - expected).abs().max() < 0.015


def test_padding_and_rows_of_one_item_stay():
    items = torch.stack([row(1), row(4)])
    for view in (
        crop_items(items, 0.5, draws()),
        mask_share(items, MASK, 0.5, draws()),
        reorder_items(items, 0.8, draws()),
    ):
        assert torch.equal(view[0], items[0]) and (view[1, 4:] == 0).all()
    assert torch.equal(items, torch.stack([row(1), row(4)])), "the input is not touched"


def test_every_pair_of_different_operators_is_as_likely():
    operators = [lambda items, _, k=k: torch.full_like(items, k) for k in range(3)]
    one, two = two_different(rows(3), operators, draws())
    assert (one != two).all()
    pairs = shares(one[:, 0] * 3 + two[:, 0], 9).view(3, 3)
    assert (pairs.diag() == 0).all() and (pairs[~torch.eye(3, dtype=torch.bool)] - 1 / 6).abs().max() < 0.02
