"""Scores of every candidate for a block of histories, and the best of them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD, Catalog
from recloom.errors import InputError
from recloom.evaluation import top_items

if TYPE_CHECKING:
    from recloom.recommend.artifact import ExportedMethod
    from recloom.training.method import Method

SCORES_PER_BLOCK = 1 << 24
"""The most scores kept at one time."""

SCORES_AT_ONCE = 1 << 20
"""The most scores a method of scores is asked for at one time: it may need much memory for each."""

LARGEST = torch.finfo(torch.float32).max


def method_name(method: Method | ExportedMethod) -> str:
    return str(getattr(method, "name", "") or type(method).__name__)


def best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest scores of each row, best first; equal scores in the order of the columns.

    Args:
        scores: `(rows, candidates)`; minus infinity where a candidate is out.
        k: at most the number of candidates.

    Returns:
        Scores and columns, both `(rows, k)`.
    """
    find = torch.topk if len(scores) == 1 else top_items  # folding pays for blocks of rows
    values, columns = find(scores, min(k + 1, scores.shape[1]))
    tied = values[:, 1:] == values[:, :-1]
    if tied.any():
        rows = (tied & (values[:, 1:] > -torch.inf)).any(1).nonzero()[:, 0]
        if len(rows):
            values, columns = values[:, :k].contiguous(), columns[:, :k].contiguous()
            values[rows], columns[rows] = _settle(scores[rows], values[rows, k - 1, None], k)
    return values[:, :k], columns[:, :k]


def _settle(scores: Tensor, least: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `best`, for rows with equal scores; `least` is the k-th largest score of each row, `(rows, 1)`."""
    above, level = scores > least, scores == least
    room = k - above.sum(1, keepdim=True)
    kept = above | (level & (level.cumsum(1, dtype=torch.int32) <= room))
    columns = kept.nonzero()[:, 1].view(-1, k)
    values, order = torch.sort(scores.gather(1, columns), dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)


class VectorSearch:
    """Candidates of a method that is two matrices.

    Args:
        method: trained, in eval mode, on its device.
        catalog: of the items it was trained on.

    Attributes:
        table: `(dim, n_items)` float32, the catalogue without padding and mask.
        intents: query vectors a history has.
    """

    rows = 1024

    def __init__(self, method: Method | ExportedMethod, catalog: Catalog) -> None:
        self.method, self.name = method, method_name(method)
        table = method.catalogue()
        if len(table) != catalog.n_rows:
            raise InputError(
                f"{self.name} was built for {len(table) - 2} items and the catalog holds {catalog.n_items}; "
                "give the catalog it was trained with"
            )
        real = table[PAD + 1 : catalog.mask_id].detach().float()
        self.table = real.t().clone(memory_format=torch.contiguous_format)
        self.largest = float(self.table.abs().amax())
        self._require(self.largest, "catalogue")
        first = torch.ones(1, 1, dtype=torch.int64, device=self.table.device)
        queries = method.queries(SequenceBatch(-first[0], first))
        if queries.shape[-1] != self.table.shape[0]:
            raise InputError(f"{self.name}: queries are {queries.shape[-1]} wide, the catalogue {self.table.shape[0]}")
        self.intents = queries.shape[1]

    @property
    def vectors(self) -> Tensor:
        """`(dim, n_items)`: the table without the columns that are no part of an item's vector."""
        return self.table[: len(self.table) - getattr(self.method, "bias_columns", 0)]

    @cached_property
    def lengths(self) -> Tensor:
        """`(n_items,)` length of each item's vector; 1 for the zero vector."""
        lengths = self.vectors.norm(dim=0)
        return torch.where(lengths > 0, lengths, 1.0)

    def candidates(self, items: Tensor | None) -> Tensor:
        """What `into` needs of these items, or of all."""
        return self.table if items is None else self.table[:, items - 1]

    def into(self, buffer: Tensor, batch: SequenceBatch, candidates: Tensor) -> Tensor:
        """Write the scores into `buffer[0]`; the queries `(batch, intents, dim)` come back.

        Args:
            buffer: `(1, batch, candidates)`, or `(2, ...)` where there are several intents.
        """
        queries = self.method.queries(batch).float()
        self._require(float(queries.abs().amax()), "queries")
        torch.mm(queries[:, 0], candidates, out=buffer[0])
        for intent in range(1, self.intents):
            torch.mm(queries[:, intent], candidates, out=buffer[1])
            torch.maximum(buffer[0], buffer[1], out=buffer[0])
        return queries

    def intents_of(self, queries: Tensor, items: Tensor) -> Tensor:
        """Which query gave each item its score: `(batch, k)` item indices -> `(batch, k)`."""
        vectors = self.table[:, items.clamp(min=1) - 1]
        return torch.einsum("bid,dbk->bik", queries, vectors).argmax(1)

    def _require(self, largest: float, what: str) -> None:
        """Finite vectors, and so small that no product of them overflows: then every score is finite."""
        if not self.table.shape[0] * largest * max(self.largest, 1.0) < LARGEST:
            raise InputError(f"{self.name}: its {what} are not finite; the training has probably diverged")


class ScoreSearch:
    """Candidates of a method that only offers `score(batch, items)`."""

    rows, intents = 256, 1

    def __init__(self, method: Method, catalog: Catalog) -> None:
        self.method, self.name = method, method_name(method)
        self.items = torch.arange(PAD + 1, catalog.mask_id, device=method.device)

    def candidates(self, items: Tensor | None) -> Tensor:
        return self.items if items is None else items

    def into(self, buffer: Tensor, batch: SequenceBatch, candidates: Tensor) -> None:
        """Write the scores into `buffer[0]`."""
        step = max(1, SCORES_AT_ONCE // len(batch))
        for first in range(0, len(candidates), step):
            buffer[0, :, first : first + step] = self.method.score(batch, candidates[first : first + step])
        if not torch.isfinite(buffer[0]).all():
            raise InputError(f"{self.name}: some of its scores are not finite; the training has probably diverged")

    def intents_of(self, queries: Tensor, items: Tensor) -> Tensor:
        raise NotImplementedError("a method that ranks by scores has no intents")
