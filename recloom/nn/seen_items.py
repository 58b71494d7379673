"""What it means for an item's score that it stands in the history already."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.errors import InputError

SPREAD = 100.0
"""Standard deviation of the prior of the term that all seen items share; that of every other number is 1."""

STEPS = 50


class SeenItems(nn.Module):
    """How an item's score changes that its row holds already.

    Of the item's own score `share` is kept; `seen + recency[steps since it last stood there] + times * (times it did -
    1)` is added. At first nothing changes. Where people never take an item twice, `seen` goes far below 0 and nothing
    seen is recommended; where they do, recency and number of times say what they come back to. Nothing of it is a
    parameter: the numbers are fitted to the scores of a trained method, which learns nothing of them. Rows may hold
    more of a history than the method reads.

    Args:
        length: how many steps back have a number each; what is older shares the last.
    """

    share: Tensor
    seen: Tensor
    times: Tensor
    recency: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        for name, value in (("share", torch.ones(())), ("seen", torch.zeros(())), ("times", torch.zeros(()))):
            self.register_buffer(name, value)
        self.register_buffer("recency", torch.zeros(length))

    def changes_nothing(self) -> bool:
        """Whether every term is 0, as before `fit`."""
        return bool(self.share == 1) and not any(bool(value.any()) for value in (self.seen, self.times, self.recency))

    def forward(self, items: Tensor, own: Tensor) -> Tensor:
        """What is added to the scores, at the last place of each item and 0 elsewhere.

        Args:
            items: `(batch, width)` right-padded ids.
            own: `(batch, width)`, their scores.
        """
        last, since, again = places(items)
        since = since.clamp(max=len(self.recency) - 1)
        terms = (self.share - 1) * own + self.seen + self.recency[since] + self.times * again
        return torch.where(last, terms, 0.0)

    def fit(
        self,
        own: Tensor,
        unseen: Tensor,
        since: Tensor,
        again: Tensor,
        rows: Tensor,
        hits: Tensor,
        *,
        temperature: float,
    ) -> None:
        """Find the numbers under which the targets are most likely: softmax over all items' scores / `temperature`.

        The likelihood is concave. A prior holds what few targets tell of near the start: normal, with standard
        deviation `SPREAD` for `seen` and 1 for the others.

        Args:
            own: `(n,)`, scores of seen items, one after the other, divided by the temperature.
            unseen: `(n,)`, the logarithm of the summed exponentials of the scores, divided by it too, of all that the
                item's row has not seen.
            since, again: `(n,)`, of the items as `places` gives them.
            rows: `(n,)`, the row of each.
            hits: `(n,)` bool, whether it is its row's target. Rows without a hit found something new.
        """
        own, unseen, again = own.double(), unseen.double(), again.double()
        since = since.clamp(max=len(self.recency) - 1)
        start = torch.cat([torch.ones(1), torch.zeros(2 + len(self.recency))]).double()
        spread = torch.ones_like(start)
        spread[1] = SPREAD
        numbers, n_rows = start.clone().requires_grad_(), int(rows.max()) + 1
        search = torch.optim.LBFGS([numbers], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            search.zero_grad()
            recency = F.embedding(since, numbers[3:, None])[:, 0]
            gaps = numbers[0] * own + numbers[1] + numbers[2] * again + recency - unseen
            most = torch.zeros(n_rows, dtype=torch.float64).scatter_reduce(0, rows, gaps.detach(), "amax")
            odds = (-most).exp().index_add(0, rows, (gaps - most[rows]).exp()).log() + most  # log(1 + sum exp)
            prior = 0.5 * ((numbers - start) / spread).square().sum()
            value = (odds.sum() - gaps[hits].sum() + prior) / n_rows
            value.backward()
            return value

        with torch.enable_grad():
            search.step(loss)
        found = numbers.detach().float()
        if not found.isfinite().all():
            raise InputError(
                "seen_items: no finite terms fit the scores of this method; its scores are too large or not finite. "
                "Train it with a smaller lr, or leave seen_items out"
            )
        self.share.copy_(found[0])
        for kept, value in ((self.seen, found[1]), (self.times, found[2]), (self.recency, found[3:])):
            kept.copy_(value * temperature)


def places(items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where each item of a row stands last, the steps since then, and how many times it stood before.

    Returns:
        `(batch, width)` bool, int64 and int64; the numbers mean nothing at other places.
    """
    valid, at = items != 0, torch.arange(items.shape[1], device=items.device).expand(items.shape)
    since = valid.sum(1, keepdim=True) - 1 - at
    found, order = torch.sort(items, dim=1, stable=True)
    begins, ends = torch.ones_like(valid), torch.ones_like(valid)
    begins[:, 1:] = ends[:, :-1] = found[:, 1:] != found[:, :-1]
    before = at - torch.where(begins, at, 0).cummax(1).values
    last, again = (torch.zeros_like(of).scatter(1, order, of) for of in (ends, before))
    return valid & last, since.clamp(min=0), again
