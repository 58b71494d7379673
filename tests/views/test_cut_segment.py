"""Segments: where they lie, how long they are, and what stands around them."""

import torch

from recloom.views import cut_segment

MASK, FILLERS = 99, torch.arange(101, 151)


def row(length, width=10):
    return torch.cat([torch.arange(1, length + 1), torch.zeros(width - length, dtype=torch.int64)])


def cuts(length, n=20_000, width=10):
    items = row(length, width).repeat(n, 1)
    return items, *cut_segment(items, MASK, FILLERS, torch.Generator().manual_seed(0))


def test_context_and_segment_rebuild_the_row_and_foreign_has_the_same_frame():
    items = torch.stack([row(m) for m in range(2, 11)])
    context, segment, foreign = cut_segment(items, MASK, FILLERS, torch.Generator().manual_seed(0))
    inside = context == MASK
    assert torch.equal(torch.where(inside, segment, context), items)
    assert torch.equal(segment == MASK, (items != 0) & ~inside)
    assert torch.equal(foreign == MASK, segment == MASK)
    for view in (context, segment, foreign):
        assert torch.equal(view == 0, items == 0)


def test_the_foreign_segment_is_a_run_of_the_fillers_at_a_uniform_offset():
    _, context, _, foreign = cuts(10)
    inside, first = context == MASK, []
    for frame, found in zip(inside[:2000], foreign[:2000], strict=True):
        run = found[frame]
        assert (run.diff() == 1).all()
        first.append(int(run[0]))
    counts = torch.bincount(torch.tensor(first), minlength=151)[101:147].double()
    assert counts.min() > 15 and counts.max() < 85  # 2,000 / 46 to 50 offsets, about 42 each
    assert min(first) == 101 and foreign.max() == 150


def test_lengths_are_uniform_up_to_half_the_row_and_starts_among_those_that_fit():
    for m in (2, 3, 7, 10):
        items, context, _, _ = cuts(m)
        inside = context == MASK
        sizes = inside.sum(1)
        shares = torch.bincount(sizes, minlength=m // 2 + 1)[1:].double() / len(items)
        assert len(shares) == m // 2 and (shares - 1 / (m // 2)).abs().max() < 0.02
        for size in range(1, m // 2 + 1):
            starts = inside[sizes == size].double().argmax(1)
            found = torch.bincount(starts, minlength=m - size + 1).double() / len(starts)
            assert len(found) == m - size + 1 and (found - 1 / (m - size + 1)).abs().max() < 0.03


def test_rows_are_cut_independently():
    _, context, _, _ = cuts(10)
    sizes = (context == MASK).sum(1).double()
    even, odd = sizes[::2], sizes[1::2]
    assert abs(torch.corrcoef(torch.stack([even, odd]))[0, 1]) < 0.03


def test_a_row_of_one_item_stays_as_it_is():
    items, *views = cuts(1, n=5)
    assert all(torch.equal(view, items) for view in views)
