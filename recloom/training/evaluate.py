"""Rank the held-out items of a data set by a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD
from recloom.data.dataset import Dataset
from recloom.data.module import query_batches, whole_histories
from recloom.errors import InputError
from recloom.evaluation import Evaluation, Evaluator
from recloom.training.method import Method, scores_of
from recloom.views import draw_places

SCORES_PER_BLOCK = 1 << 24
"""Scores formed at one time, of a ranker or to fit the terms of seen items."""


@torch.inference_mode()
def evaluate(
    method: Method,
    data: Dataset,
    part: str = "test",
    protocol: str = "full-mask",
    k: int | Sequence[int] = (5, 10, 20),
    *,
    exact: bool = True,
    lists: bool = True,
    seed: int = 0,
    candidates: NDArray[np.int32] | None = None,
    name: str | None = None,
    insert_noise: float = 0.0,
    known_users: bool = True,
) -> Evaluation:
    """Evaluate a method on one part of a data set under one protocol.

    Args:
        part: "valid" or "test".
        protocol: a name from `recloom.evaluation.PROTOCOLS`.
        k: the cut-offs, one or several.
        exact: every target's exact rank (MRR, per-user ranks); else ranks are capped behind the largest k.
        lists: keep each user's top items (coverage, novelty).
        seed: of the sampled candidates.
        candidates: published candidates of a sampled protocol, target first.
        name: of the method in errors and tables.
        insert_noise: random items at random places of what the method reads, for each item that it reads, drawn by
            `seed` (MCLRec's figure 7). What is ranked stays the same.
        known_users: the users are those the method was trained on; else all of them are new to it.

    Raises:
        InputError: an unknown part or protocol, noise outside 0..1.
    """
    if not 0 <= insert_noise <= 1:
        raise InputError(f"insert_noise={insert_noise} must lie in 0..1, random items for each item of a history")
    draw = torch.Generator().manual_seed(seed)
    was_training, name = method.training, name or method.name
    method.eval()
    evaluator = Evaluator(
        data, part, protocol, k=k, exact=exact, lists=lists, seed=seed, candidates=candidates, device=str(method.device)
    )
    by_vectors = method.ranks_by == "vectors"
    table = method.catalogue() if by_vectors else None
    evaluator.start(table, name)
    seen_items, masked = method.seen_items, evaluator.protocol.mask_history and not insert_noise
    if seen_items is not None and (masked or seen_items.changes_nothing()):
        seen_items = None  # what it would change is not ranked, or it changes nothing
    at_once = 1024 if by_vectors else min(256, max(1, SCORES_PER_BLOCK // data.n_items))
    for rows, batch in query_batches(data, part, method.length, at_once):
        if insert_noise:
            batch = SequenceBatch(batch.users, with_noise(batch.items, insert_noise, method.length, data.n_items, draw))
        if not known_users:
            batch = SequenceBatch(torch.full_like(batch.users, -1), batch.items)
        batch = batch.to(method.device)
        if table is not None:
            queries, seen, terms = method.queries(batch), None, None
            if seen_items is not None:
                seen = batch.items if insert_noise else whole_histories(data, part, rows).to(method.device)
                terms = seen_items(seen, scores_of(queries, table, seen))
            evaluator.add_queries(rows, queries, seen, terms)
        else:
            evaluator.add_scores(rows, _scores(method, batch, evaluator, rows, data.n_items))
    method.train(was_training)
    return replace(evaluator.result(), insert_noise=insert_noise)


def with_noise(items: Tensor, share: float, length: int, n_items: int, generator: torch.Generator) -> Tensor:
    """Rows with uniform items at random places, `share` as many as a row holds, of which the latest `length` are kept.

    Where that is no whole number it is rounded up with the chance of its fraction; every place is as likely, before the
    first item and after the last one too.
    """
    lengths = (items != PAD).sum(1, keepdim=True)
    sizes = (lengths * share + torch.rand(lengths.shape, generator=generator, dtype=torch.float64)).long()
    totals = lengths + sizes
    at = torch.arange(int(totals.max())).expand(len(items), -1)
    noisy = draw_places(at < totals, sizes[:, 0], generator)
    own = items.gather(1, ((~noisy).cumsum(1) - 1).clamp(0, items.shape[1] - 1))
    found = torch.where(noisy, torch.randint(1, n_items + 1, at.shape, generator=generator), own)
    place = at[:, :length] + (totals - length).clamp(min=0)
    return found.gather(1, place.clamp(max=at.shape[1] - 1)).masked_fill(place >= totals, PAD)


def _scores(
    method: Method, batch: SequenceBatch, evaluator: Evaluator, rows: NDArray[np.int64], n_items: int
) -> Tensor:
    """What a ranker thinks of all items, or of each row's candidates, in blocks."""
    if evaluator.candidates is not None:
        items = torch.from_numpy(evaluator.candidates[rows].astype(np.int64)).to(method.device)
        return method.score(batch, items)
    step = max(1, SCORES_PER_BLOCK // len(batch))
    blocks = [
        method.score(batch, torch.arange(first, min(first + step, n_items + 1), device=method.device))
        for first in range(1, n_items + 1, step)
    ]
    return torch.cat(blocks, 1)
