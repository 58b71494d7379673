"""What it means for an item's score that it stands in the history already."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPREAD = 100.0
"""Standard deviation of the prior of the term that all seen items share; that of every other number is 1."""

STEPS = 50


class SeenItems(nn.Module):
    """A term for each item of a row: `seen + recency[steps since it last stood there] + times * (times it did - 1)`.

    All start at 0. Where people never take an item twice, `seen` goes far below 0 and nothing seen is recommended;
    where they do, recency and number of times say what they come back to. Nothing of it is a parameter: the numbers are
    fitted to the scores of a trained method, not trained with it.

    Args:
        length: the longest row.
    """

    seen: Tensor
    recency: Tensor
    times: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        for name, value in (("seen", torch.zeros(())), ("recency", torch.zeros(length)), ("times", torch.zeros(()))):
            self.register_buffer(name, value)

    def forward(self, items: Tensor) -> Tensor:
        """`(batch, width)` right-padded ids -> terms of the same shape: at the last place of each item, else 0."""
        last, since, again = places(items)
        since = since.clamp(max=len(self.recency) - 1)
        return (self.seen + self.recency[since] + self.times * again) * last

    def fit(self, gaps: Tensor, since: Tensor, again: Tensor, rows: Tensor, hits: Tensor) -> None:
        """Find the numbers under which the targets are most likely: softmax over all items, with the terms.

        The likelihood is concave. A prior holds what few targets tell of near 0: normal, with standard deviation
        `SPREAD` for `seen` and 1 for the others.

        Args:
            gaps: `(n,)`, how far each seen item's score lies above the logarithm of the summed exponentials of the
                scores of all that its row has not seen.
            since, again: `(n,)`, of these items as `places` gives them.
            rows: `(n,)`, the row of each.
            hits: `(n,)` bool, whether it is its row's target. Rows without a hit found something new.
        """
        gaps, since, again = gaps.double(), since.clamp(max=len(self.recency) - 1), again.double()
        numbers = torch.zeros(len(self.recency) + 2, dtype=torch.float64, requires_grad=True)
        spread = torch.tensor([SPREAD] + [1.0] * (len(numbers) - 1), dtype=torch.float64)
        n_rows = int(rows.max()) + 1
        search = torch.optim.LBFGS([numbers], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            search.zero_grad()
            terms = numbers[0] + numbers[1] * again + F.embedding(since, numbers[2:, None])[:, 0]
            odds = torch.zeros(n_rows, dtype=torch.float64).index_add(0, rows, (gaps + terms).exp())
            value = (odds.log1p().sum() - terms[hits].sum() + 0.5 * (numbers / spread).square().sum()) / n_rows
            value.backward()
            return value

        with torch.enable_grad():
            search.step(loss)
        found = numbers.detach().float()
        self.seen.copy_(found[0])
        self.times.copy_(found[1])
        self.recency.copy_(found[2:])


def places(items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where each item of a row stands last, the steps since then, and how many times it stood before.

    Returns:
        `(batch, width)` bool, int64 and int64; the numbers mean nothing at other places.
    """
    valid = items != 0
    same = items[:, :, None] == items[:, None, :]
    later = torch.ones(same.shape[1:], dtype=torch.bool, device=items.device).triu(1)
    since = valid.sum(1, keepdim=True) - 1 - torch.arange(items.shape[1], device=items.device)
    return valid & ~(same & later).any(2), since.clamp(min=0), same.sum(2) - 1
