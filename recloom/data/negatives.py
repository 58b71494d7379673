"""Samplers of negative items, given a batch and a catalog."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD
from recloom.errors import InputError


def uniform(shape: tuple[int, ...], n_items: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Items 1..n_items with equal probability, int64 of the given shape."""
    return torch.randint(1, n_items + 1, shape, generator=generator, device=device)


def uniform_outside(rows: Tensor, shape: tuple[int, ...], n_items: int, generator: torch.Generator) -> Tensor:
    """Uniform negatives outside the items of their row.

    Args:
        rows: `(batch, length)` int64, what must not be drawn for each row (`PAD` allowed).
        shape: `(batch, ...)` of the result.
        n_items: size of the catalogue.

    Nothing is drawn twice: with m distinct items in a row, a number is drawn from the n_items - m others and moved
    up past every item of the row that lies below it.

    Raises:
        InputError: a row holds the whole catalogue.
    """
    known = rows.sort(1).values
    first = known > 0
    first[:, 1:] &= known[:, 1:] != known[:, :-1]
    distinct = first.sum(1, keepdim=True)
    if int(distinct.max()) >= n_items:
        raise InputError(
            f"negatives: a history holds all {n_items} items, so none is left to draw; choose losses that draw none, "
            "such as softmax, or leave such histories out"
        )
    steps = torch.where(first, known - first.cumsum(1) + 1, torch.iinfo(torch.int64).max).sort(1).values
    drawn = torch.randint(2**62, (shape[0], math.prod(shape[1:])), generator=generator, device=rows.device)
    drawn = drawn % (n_items - distinct) + 1
    return (drawn + torch.searchsorted(steps, drawn, right=True)).view(shape)


class ActionsWithNegatives:
    """What users did and did not: each training action once, for methods that read no order.

    Args:
        n_items: size of the catalogue.
        negatives: uniform items outside of the action's row, drawn for each action.
        length: of the rows; those of one input would hold actions twice.

    Raises:
        InputError: no negatives, rows of one input.
    """

    def __init__(self, n_items: int, negatives: int, length: int) -> None:
        if negatives < 1:
            raise InputError(f"negatives={negatives}: at least 1 is needed")
        if length < 2:
            raise InputError(f"length={length}: at least 2 is needed, so that rows hold every action once")
        self.n_items, self.negatives = n_items, negatives

    def __call__(self, batch: SequenceBatch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Rows `(actions,)` of the batch, from `windows.sliding` or `windows.whole`; their items; `(actions, k)`."""
        assert batch.targets is not None
        first = torch.where(batch.targets[:, :1] != PAD, batch.items[:, :1], PAD)  # else a target of an earlier row
        wanted = torch.cat([first, batch.targets], 1)
        drawn = uniform_outside(batch.whole(), (*wanted.shape, self.negatives), self.n_items, generator)
        rows, columns = (wanted != PAD).nonzero(as_tuple=True)
        return rows, wanted[rows, columns], drawn[rows, columns]


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
