"""Samplers of negative items, given a batch and a catalog."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(shape: tuple[int, ...], n_items: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Items 1..n_items with equal probability, int64 of the given shape."""
    return torch.randint(1, n_items + 1, shape, generator=generator, device=device)


def uniform_outside(rows: Tensor, shape: tuple[int, ...], n_items: int, generator: torch.Generator) -> Tensor:
    """Uniform negatives that avoid every item of their row.

    Args:
        rows: `(batch, length)` int64, what must not be drawn for each row (`PAD` allowed).
        shape: `(batch, ...)` of the result.
        n_items: size of the catalogue.

    A draw that hits its row is drawn again, four times at the most: with a catalogue many times longer
    than a history the share of hits left is below one in a million; a row that holds nearly the
    whole catalogue keeps its last draw.
    """
    drawn = uniform((shape[0], int(torch.tensor(shape[1:]).prod())), n_items, generator, rows.device)
    known = rows.sort(1).values
    for _ in range(4):
        where = torch.searchsorted(known, drawn).clamp_(max=known.shape[1] - 1)
        hit = known.gather(1, where) == drawn
        if not bool(hit.any()):
            break
        drawn[hit] = uniform((int(hit.sum()),), n_items, generator, rows.device)
    return drawn.view(shape)


class PopularityNegatives:
    """Items drawn with probability proportional to `count ** alpha`, shared by a batch.

    Args:
        counts: `(n_items + 2,)` training actions per item, as in `Catalog.train_counts`.
        alpha: 0 is uniform over the items seen in training, 1 follows popularity.
    """

    def __init__(self, counts: Tensor, alpha: float = 1.0) -> None:
        weights = torch.where(counts > 0, counts.double() ** alpha, 0.0)
        self.probabilities = weights / weights.sum()
        self.log_probabilities = self.probabilities.log().float()

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """`(n,)` int64 items, with replacement."""
        return torch.multinomial(self.probabilities, n, replacement=True, generator=generator)
