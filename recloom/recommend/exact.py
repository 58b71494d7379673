"""Exact search for many histories, block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recloom.data.batch import SequenceBatch, gather, latest
from recloom.data.sequences import places_of
from recloom.evaluation.top import FOLDS
from recloom.recommend.histories import Histories
from recloom.recommend.restrictions import Restrictions
from recloom.recommend.search import SCORES_PER_BLOCK, ScoreSearch, VectorSearch, best


class ExactSearch:
    """The search of one call. Histories of like length share a block, and all blocks share one buffer of scores.

    Args:
        search: forms the scores.
        popularity: `(n_items,)` float32 scores for histories without items.
        asked: the histories.
        k: how many items each gets.
        filter_seen: leave out a history's own items.
        limits: which items may be recommended.

    Attributes:
        items: `(n_histories, k)` item indices, 0 behind the last; `k` is cut to the number of allowed items.
        scores: `(n_histories, k)` float32, minus infinity behind the last.
        intents: `(n_histories, k)` int16, -1 where there is none; None for methods with one query a history.
        fallback_rows: numbers of the histories without items.
    """

    def __init__(
        self,
        search: VectorSearch | ScoreSearch,
        popularity: Tensor,
        asked: Histories,
        k: int,
        filter_seen: bool,
        limits: Restrictions,
    ) -> None:
        self.search, self.popularity, self.asked = search, popularity, asked
        self.filter_seen, self.limits, self.device = filter_seen, limits, popularity.device
        n_items, self.width = len(popularity), len(popularity)
        self.allowed: Tensor | None = None
        self.place: NDArray[np.int64] | None = None
        if limits.allowed is not None:
            self.allowed, self.width = self._tensor(limits.allowed), len(limits.allowed)
            self.place = np.full(n_items + 2, -1, dtype=np.int64)
            self.place[limits.allowed] = np.arange(self.width)
            self.popularity = popularity[self.allowed - 1]
        self.padded = -(-self.width // FOLDS) * FOLDS  # the columns behind the last stay at minus infinity
        by_user = limits.allowed_by_user or limits.denied_by_user
        self.users: list[Any] = asked.user_list if by_user else []
        self.k = min(k, self.width)
        self.items = np.zeros((len(asked), self.k), dtype=np.int64)
        self.scores = np.full((len(asked), self.k), -np.inf, dtype=np.float32)
        self.intents = np.full((len(asked), self.k), -1, dtype=np.int16) if search.intents > 1 else None
        self.fallback_rows = np.empty(0, dtype=np.int64)

    def run(self, length: int) -> ExactSearch:
        """Fill the attributes, reading the latest `length` items of each history."""
        read = np.minimum(self.asked.lengths, length)
        order = np.argsort(read, kind="stable") if len(read) > 1 else np.arange(len(read))
        n_empty = len(read) - int(np.count_nonzero(read))
        self.fallback_rows = order[:n_empty]
        if not self.k:
            return self
        per_block = max(1, min(self.search.rows, SCORES_PER_BLOCK // self.width, len(order)))
        copies = 2 if self.search.intents > 1 else 1
        buffer = torch.full((copies, per_block, self.padded), -torch.inf, device=self.device)
        candidates = self.search.candidates(self.allowed)
        for first in range(0, n_empty, per_block):
            rows = order[first : min(first + per_block, n_empty)]
            buffer[0, : len(rows), : self.width] = self.popularity
            self._keep(rows, buffer[0, : len(rows)], None)
        for first in range(n_empty, len(order), per_block):
            rows = order[first : first + per_block]
            stop = self.asked.offsets[rows + 1]
            items = torch.from_numpy(gather(self.asked.items, stop - read[rows], stop))
            numbers = np.full(len(rows), -1) if self.asked.numbers is None else self.asked.numbers[rows]
            batch = SequenceBatch(torch.from_numpy(numbers), items).to(self.device)
            queries = self.search.into(buffer[:, : len(rows), : self.width], batch, candidates)
            self._add_terms(rows, buffer[0, : len(rows)])
            self._keep(rows, buffer[0, : len(rows)], queries)
        return self

    def _add_terms(self, rows: NDArray[np.int64], scores: Tensor) -> None:
        """What a method adds to the scores of a history's own items, where they may be recommended."""
        seen_items = self.search.method.seen_items
        if self.filter_seen or seen_items is None:
            return
        histories = latest(self.asked.items, self.asked.offsets[rows], self.asked.offsets[rows + 1])
        columns, items = self._tensor(self._columns(histories.numpy())), histories.to(self.device)
        real, columns = (items > 0) & (columns >= 0), columns.clamp(min=0)
        terms = seen_items(items, scores.gather(1, columns))
        scores.scatter_add_(1, columns, terms.to(scores.dtype) * real)

    def _keep(self, rows: NDArray[np.int64], scores: Tensor, queries: Tensor | None) -> None:
        """Take out what may not be recommended and keep the best of the rest."""
        if len(self.limits.denied):
            scores.index_fill_(1, self._tensor(self.limits.denied - 1), -torch.inf)
        if self.users:
            self._restrict_users(rows, scores)
        if self.filter_seen:
            seen = self._seen(rows)
            if len(seen):
                scores.view(-1).index_fill_(0, self._tensor(seen), -torch.inf)
        values, columns = (found.cpu().numpy() for found in best(scores, self.k))
        found = values > -np.inf
        columns = np.minimum(columns, self.width - 1)
        items = np.where(found, columns + 1 if self.limits.allowed is None else self.limits.allowed[columns], 0)
        self.items[rows], self.scores[rows] = items, values
        if self.intents is not None and queries is not None:
            intents = self.search.intents_of(queries, self._tensor(items)).cpu().numpy()
            self.intents[rows] = np.where(found, intents, -1)

    def _seen(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Flat places of each history's own items, all of them, in the scores of a block."""
        start, stop = self.asked.offsets[rows], self.asked.offsets[rows + 1]
        if len(rows) == 1:
            columns = self._columns(self.asked.items[start[0] : stop[0]])
            return columns[columns >= 0]
        lengths = stop - start
        columns = self._columns(self.asked.items[places_of(start, lengths)])
        flat = np.repeat(np.arange(len(rows)) * self.padded, lengths) + columns
        return flat if self.place is None else flat[columns >= 0]

    def _restrict_users(self, rows: NDArray[np.int64], scores: Tensor) -> None:
        """The lists of single users, whoever of them is in the block."""
        for row, number in enumerate(rows.tolist()):
            allowed = self.limits.allowed_by_user.get(self.users[number])
            denied = self.limits.denied_by_user.get(self.users[number])
            if allowed is not None:
                kept = self._tensor(self._in(allowed))
                values = scores[row, kept]
                scores[row] = -torch.inf
                scores[row, kept] = values
            if denied is not None:
                scores[row, self._tensor(self._in(denied))] = -torch.inf

    def _columns(self, items: NDArray[Any]) -> NDArray[np.int64]:
        """Columns of the scores that hold these items, -1 where none does."""
        return items - np.int64(1) if self.place is None else self.place[items]

    def _in(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        columns = self._columns(items)
        return columns[columns >= 0]

    def _tensor(self, array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self.device)
