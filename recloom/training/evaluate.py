"""Rank the held-out items of a data set by a method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.dataset import Dataset
from recloom.data.module import query_batches
from recloom.evaluation import Evaluation, Evaluator
from recloom.training.method import Method

SCORES_PER_BLOCK = 1 << 24
"""Scores a ranker forms at one time."""


@torch.inference_mode()
def evaluate(
    method: Method,
    data: Dataset,
    part: str = "test",
    protocol: str = "full-mask",
    k: Sequence[int] = (5, 10, 20),
    *,
    exact: bool = True,
    lists: bool = True,
    seed: int = 0,
    candidates: NDArray[np.int32] | None = None,
    name: str | None = None,
) -> Evaluation:
    """Evaluate a method on one part of a data set under one protocol.

    Args:
        part: "valid" or "test".
        protocol: a name from `recloom.evaluation.PROTOCOLS`.
        k: the cut-offs.
        exact: every target's exact rank (MRR, per-user ranks); else ranks are capped behind the largest k.
        lists: keep each user's top items (coverage, novelty).
        seed: of the sampled candidates.
        candidates: published candidates of a sampled protocol, target first.
        name: of the method in errors and tables.
    """
    was_training, name = method.training, name or method.name
    method.eval()
    evaluator = Evaluator(
        data, part, protocol, k=k, exact=exact, lists=lists, seed=seed, candidates=candidates, device=str(method.device)
    )
    by_vectors = method.ranks_by == "vectors"
    evaluator.start(method.catalogue() if by_vectors else None, name)
    for rows, batch in query_batches(data, part, method.length, 1024 if by_vectors else 256):
        batch = batch.to(method.device)
        if by_vectors:
            evaluator.add_queries(rows, method.queries(batch))
        else:
            evaluator.add_scores(rows, _scores(method, batch, evaluator, rows, data.n_items))
    method.train(was_training)
    return evaluator.result()


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
