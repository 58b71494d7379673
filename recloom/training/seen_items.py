"""Fit the terms of items that a history holds already to the validation targets."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from recloom.data.dataset import Dataset
from recloom.data.module import query_batches, whole_histories
from recloom.nn.seen_items import SeenItems, places
from recloom.training.evaluate import SCORES_PER_BLOCK
from recloom.training.method import Method

MOST_ROWS = 1 << 16
"""Histories that are read for it: these are few numbers."""

OUT = -1e9
"""Score of what cannot be taken."""

STEPS = 30
WIDEST = 10.0
"""The largest temperature, and one over the smallest."""


@torch.no_grad()
def fit_seen_items(method: Method, seen_items: SeenItems, data: Dataset) -> None:
    """Fit them to what follows the histories of the validation part; nothing else of the method changes.

    On validation, as people come back more often the longer their history is. A trained model is also too sure of its
    first choices, or not sure enough, so that what is new and what was seen are weighed at a temperature: the one that
    makes the new items most likely that were taken (temperature scaling, Guo et al., ICML 2017).
    """
    was_training, found, n_rows = method.training, [], 0
    method.eval()
    temperature = fitted_temperature(method, data)
    for scores, items, targets in scored_rows(method, data, MOST_ROWS):
        scores /= temperature
        own, (last, since, again) = scores.gather(1, items), places(items)
        unseen = scores.scatter_(1, items, OUT).logsumexp(1, keepdim=True).expand_as(own)
        rows = n_rows + torch.arange(len(items), device=items.device)[:, None].expand_as(own)
        parts = own, unseen, since, again, rows, items == targets[:, None]
        found.append([part[last].cpu() for part in parts])
        n_rows += len(items)
    if n_rows:
        seen_items.fit(*(torch.cat(parts) for parts in zip(*found, strict=True)), temperature=temperature)
    method.train(was_training)


@torch.no_grad()
def fitted_temperature(method: Method, data: Dataset) -> float:
    """What divides scores so that the new items that were taken are most likely among all new ones; 1 if none was.

    Told by as many histories as one block of scores holds.
    """
    found: list[tuple[Tensor, Tensor]] = []
    for scores, items, targets in scored_rows(method, data, max(1, SCORES_PER_BLOCK // data.n_items)):
        new = (items != targets[:, None]).all(1)
        found.append((scores.scatter_(1, items, OUT)[new], targets[new]))
    if not sum(len(targets) for _, targets in found):
        return 1.0
    scores, targets = (torch.cat(parts) for parts in zip(*found, strict=True))
    logarithm = torch.zeros((), device=scores.device, requires_grad=True)
    search = torch.optim.LBFGS([logarithm], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(scores / logarithm.exp(), targets)
        value.backward()
        return value

    with torch.enable_grad():
        search.step(loss)
    return float(logarithm.detach().exp().clamp(1 / WIDEST, WIDEST))


def scored_rows(method: Method, data: Dataset, most: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Scores of all ids `(batch, n_items + 2)`, items and targets, of at most `most` histories of validation."""
    table, asked = method.catalogue(), data.split.valid
    every = max(1, -(-len(asked.users) // most))
    at_once = max(1, SCORES_PER_BLOCK // len(table))
    for rows, found in query_batches(data, "valid", method.length, at_once, every):
        batch = found.to(method.device)
        targets = torch.from_numpy(data.sequences.items[asked.stop[rows]]).to(method.device, torch.int64)
        scores = (method.queries(batch) @ table.t()).amax(1)
        scores[:, 0] = scores[:, -1] = OUT
        yield scores, whole_histories(data, "valid", rows).to(method.device), targets
