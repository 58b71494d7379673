"""What is hidden, how often, and how independently."""

import pytest
import torch

from recloom.views import mask_items

ITEMS = torch.tensor([[3, 4, 5, 6, 7, 8], [9, 10, 11, 0, 0, 0], [12, 0, 0, 0, 0, 0]])
MASK = 99


def draws(n, rate, **options):
    generator = torch.Generator().manual_seed(0)
    return torch.stack([mask_items(ITEMS, MASK, rate, generator, **options)[1] for _ in range(n)])


def test_hidden_items_become_the_mask_and_others_stay():
    seen, hidden = mask_items(ITEMS, MASK, 0.5, torch.Generator().manual_seed(1))
    assert torch.equal(seen == MASK, hidden)
    assert torch.equal(seen[~hidden], ITEMS[~hidden])
    assert not hidden[ITEMS == 0].any() and hidden.any()


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.6])
def test_every_real_position_is_hidden_at_the_rate(rate):
    shares = draws(20_000, rate).double().mean(0)
    assert (shares[ITEMS != 0] - rate).abs().max() < 0.015
    assert (shares[ITEMS == 0] == 0).all()


def test_positions_and_rows_are_independent():
    hidden = draws(20_000, 0.3)[:, :2, :3].flatten(1).double()
    together = hidden.T @ hidden / len(hidden)
    off = ~torch.eye(6, dtype=torch.bool)
    assert (together[off] - 0.09).abs().max() < 0.012


def test_the_last_item_is_always_hidden_if_asked():
    hidden = draws(5_000, 0.2, always_last=True)
    assert hidden[:, 0, 5].all() and hidden[:, 1, 2].all() and hidden[:, 2, 0].all()
    assert abs(hidden[:, 0, :5].double().mean() - 0.2) < 0.01


def test_the_generator_decides():
    one, two, other = (mask_items(ITEMS, MASK, 0.5, torch.Generator().manual_seed(s))[1] for s in (7, 7, 8))
    assert torch.equal(one, two) and not torch.equal(one, other)
