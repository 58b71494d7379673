"""Ranks of held-out items among all items or a sample: no sort, no loop over users, nothing kept but ranks.

Scores are formed for a block of users in a buffer that is used again and again, and small enough to stay
near the processor: fresh memory costs more than the products. Counting what scores at least as high as the
target is one comparison in place and one sum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recloom.data.sequences import places_of
from recloom.errors import InputError
from recloom.evaluation.candidates import check_candidates, get_part, sampled_candidates
from recloom.evaluation.metrics import cut_offs, recall
from recloom.evaluation.protocols import Protocol, get_protocol
from recloom.evaluation.report import Evaluation
from recloom.evaluation.top import FOLDS, top_items

if TYPE_CHECKING:
    from recloom.data.dataset import Dataset

CELLS = {"cpu": 1 << 22}
"""Scores held at one time, by kind of device: 16 MB where the processor computes."""
CELLS_ELSEWHERE = 1 << 27
"""Scores held at one time on an accelerator: 512 MB."""


class Evaluator:
    """Collects the ranks of one method over one part of a data set: `start`, then `add_...`, then `result`.

    Args:
        data: data set with its split.
        part: "valid" or "test".
        protocol: a name from `PROTOCOLS`.
        k: cut-offs.
        exact: count every rank; else ranks stop at max(k) + 1, which is enough for HR and NDCG.
        lists: keep each user's first max(k) items (coverage, novelty, recall). Sampled protocols keep none.
        seed: of the sampled candidates.
        candidates: given candidates of a sampled protocol, `(users, 1 + negatives)`, target first.
        device: where scores are formed; what is added must lie there.

    Attributes:
        candidates: the items ranked for each user under a sampled protocol, else None.

    Raises:
        InputError: unknown part or protocol, unusable k, or candidates that do not fit.
    """

    def __init__(
        self,
        data: Dataset,
        part: str = "test",
        protocol: str | Protocol = "full-mask",
        k: int | Sequence[int] = (5, 10, 20),
        exact: bool = True,
        lists: bool = True,
        seed: int = 0,
        candidates: NDArray[np.int32] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.data, self.part, self.protocol = data, part, get_protocol(protocol)
        self.seed = seed if self.protocol.sampled and candidates is None else None
        self._asked = get_part(data, part)
        self.k = cut_offs(k)
        self.exact, self.lists = exact or self.protocol.sampled, lists and not self.protocol.sampled
        self.n_items, self.device = int(data.catalog.n_items), torch.device(device)
        self.candidates = self._candidates(candidates, seed)
        self._hash_of_given = None
        if candidates is not None and self.candidates is not None:  # as they were checked, whatever type they came in
            self._hash_of_given = hashlib.blake2b(self.candidates.tobytes(), digest_size=8).hexdigest()
        self._targets = np.asarray(data.sequences.items[self._asked.stop], dtype=np.int64)
        self._width = -(-self.n_items // FOLDS) * FOLDS  # columns behind the last item never compete
        self._cells = CELLS.get(self.device.type, CELLS_ELSEWHERE)
        self._step = max(1, self._cells // self._width)
        self._buffers: dict[int, Tensor] = {}
        self._table: Tensor | None = None
        self._started = False

    @torch.inference_mode()
    def start(self, catalogue: Tensor | None, method_name: str) -> None:
        """Begin with a method; what was collected before is forgotten.

        Args:
            catalogue: `(n_items + 2, dim)`, or None for a method that gives scores.
            method_name: named in errors and results.
        """
        self._method, self._started, self._table = method_name, True, None
        n_users, longest = len(self._targets), self.k[-1]
        self._ranks = torch.zeros(n_users, dtype=torch.int64, device=self.device)
        shape = (n_users if self.lists else 0, longest)
        self._lists = torch.zeros(shape, dtype=torch.int32, device=self.device)
        if catalogue is None:
            return
        if catalogue.dim() != 2 or len(catalogue) != self.n_items + 2:
            raise InputError(
                f"{method_name}: catalogue() must give one row for each of {self.n_items} items, the padding and the "
                f"mask, so {self.n_items + 2}; found shape {tuple(catalogue.shape)}"
            )
        table = catalogue.to(self.device, torch.float32)
        self._check(table[1:-1], "item vector")
        self._longest_item = float(torch.linalg.vector_norm(table[1:-1], dim=1).max())
        if self.protocol.sampled:
            self._table = table
        else:
            self._table = torch.zeros(table.shape[1], self._width, device=self.device)
            self._table[:, : self.n_items] = table[1:-1].t()

    @torch.inference_mode()
    def add_queries(
        self, rows: NDArray[np.int64], queries: Tensor, items: Tensor | None = None, terms: Tensor | None = None
    ) -> None:
        """Rank for users given as vectors; the score of an item is its largest product over the intents.

        Args:
            rows: indices into the arrays of the part, `(batch,)`.
            queries: `(batch, intents, dim)`.
            items: `(batch, length)` int64 ids, 0 for none, whose scores get the `terms`, `(batch, length)`, added.
        """
        if not self._started or self._table is None:
            raise RuntimeError("add_queries needs start(catalogue, name) first")
        dim = self._table.shape[1] if self.protocol.sampled else self._table.shape[0]
        if queries.dim() != 3 or len(queries) != len(rows) or queries.shape[2] != dim:
            raise InputError(
                f"{self._method}: queries must have shape ({len(rows)}, intents, {dim}), found {tuple(queries.shape)}"
            )
        queries = queries.to(self.device, torch.float32)
        self._check(queries, "query")
        if terms is not None:
            self._check(terms, "seen-item term")
        length = float(torch.linalg.vector_norm(queries, dim=2).max())
        safe = length * self._longest_item < 1e38  # Cauchy-Schwarz: no product can leave the range of float32
        step = self._step
        if self.protocol.sampled:
            step = max(1, self._cells // 4 // (self._candidate_rows(rows).shape[1] * dim))
        for begin in range(0, len(rows), step):
            some, block = rows[begin : begin + step], queries[begin : begin + step]
            scores = self._sampled_products(some, block) if self.protocol.sampled else self._products(block)
            if items is not None and terms is not None:
                self._add_terms(scores, some, items[begin : begin + step], terms[begin : begin + step])
            if not safe:
                self._check(scores[:, : self.n_items], "score")
            self._rank(some, scores)

    @torch.inference_mode()
    def add_scores(self, rows: NDArray[np.int64], scores: Tensor) -> None:
        """Rank for users given as scores, which stay unchanged.

        Args:
            rows: indices into the arrays of the part, `(batch,)`.
            scores: `(batch, n_items)`, columns are items 1 to n_items; under a sampled protocol
                `(batch, 1 + negatives)`, columns are `candidates[rows]`.
        """
        if not self._started:
            raise RuntimeError("add_scores needs start(None, name) first")
        columns = self._candidate_rows(rows).shape[1] if self.protocol.sampled else self.n_items
        if scores.shape != (len(rows), columns):
            raise InputError(
                f"{self._method}: scores must have shape ({len(rows)}, {columns}), found {tuple(scores.shape)}"
            )
        step = len(rows) if self.protocol.sampled else self._step
        for begin in range(0, len(rows), step):
            some, block = rows[begin : begin + step], scores[begin : begin + step]
            if not self.protocol.sampled:
                block = self._buffer(0, len(some))
                block[:, : self.n_items] = scores[begin : begin + step]
            self._check(block[:, :columns], "score")
            self._rank(some, block)

    def result(self) -> Evaluation:
        """What was found, once every user of the part has been added."""
        if not self._started or not bool((self._ranks > 0).all()):
            missing = int((self._ranks == 0).sum()) if self._started else len(self._targets)
            raise RuntimeError(f"{missing} of {len(self._targets)} users have not been ranked yet")
        lists = self._lists.cpu().numpy() if self.lists else None
        catalog = self.data.catalog
        counts = np.asarray(catalog.train_counts, dtype=np.int64)
        return Evaluation(
            method=self._method,
            protocol=self.protocol.name,
            split=self.data.split.name,
            part=self.part,
            k=self.k,
            exact=self.exact,
            users=np.asarray(self._asked.users, dtype=np.int64),
            targets=self._targets,
            ranks=self._ranks.cpu().numpy(),
            lists=lists,
            history_lengths=self._asked.stop - self._asked.start,
            target_counts=counts[self._targets],
            item_counts=counts,
            recalls=self._recalls(lists),
            seed=self.seed,
            candidates=self._hash_of_given,
            split_options=dict(self.data.split.options),
            attributes=(catalog.attribute_offsets, catalog.attribute_values) if catalog.n_attributes else None,
        )

    def _candidates(self, given: NDArray[np.int32] | None, seed: int) -> NDArray[np.int32] | None:
        if not self.protocol.sampled:
            if given is not None:
                raise InputError(f"protocol '{self.protocol.name}' ranks all items; candidates cannot be given")
            return None
        if given is None:
            return sampled_candidates(self.data, self.part, self.protocol, seed)
        table = check_candidates(self.data, self.part, given)
        if table.shape[1] != 1 + self.protocol.negatives:
            raise InputError(
                f"protocol '{self.protocol.name}' ranks the target among {self.protocol.negatives} negatives; the "
                f"given candidates hold {table.shape[1] - 1}"
            )
        return table

    def _add_terms(self, scores: Tensor, rows: NDArray[np.int64], items: Tensor, terms: Tensor) -> None:
        """Add terms to the scores of single items, in place."""
        if not self.protocol.sampled:
            scores.scatter_add_(1, (items - 1).clamp(min=0), terms.to(scores.dtype) * (items > 0))
            return
        candidates = torch.from_numpy(self._candidate_rows(rows).astype(np.int64)).to(items.device)
        for place in range(items.shape[1]):
            scores += (candidates == items[:, place, None]) * terms[:, place, None]

    def _candidate_rows(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        assert self.candidates is not None
        return self.candidates[rows]

    def _buffer(self, number: int, rows: int) -> Tensor:
        """The first rows of one of the buffers of scores."""
        if number not in self._buffers:
            size = min(self._step, len(self._targets))
            self._buffers[number] = torch.empty(size, self._width, device=self.device)
        return self._buffers[number][:rows]

    def _products(self, queries: Tensor) -> Tensor:
        assert self._table is not None
        scores = torch.mm(queries[:, 0], self._table, out=self._buffer(0, len(queries)))
        for intent in range(1, queries.shape[1]):
            other = torch.mm(queries[:, intent], self._table, out=self._buffer(1, len(queries)))
            torch.maximum(scores, other, out=scores)
        return scores

    def _sampled_products(self, rows: NDArray[np.int64], queries: Tensor) -> Tensor:
        assert self._table is not None
        items = torch.from_numpy(self._candidate_rows(rows)).to(self.device, torch.int64)
        vectors = self._table.index_select(0, items.flatten()).view(*items.shape, -1)
        return torch.bmm(queries, vectors.transpose(1, 2)).amax(1)

    def _rank(self, rows: NDArray[np.int64], scores: Tensor) -> None:
        """Ranks and lists of one block; its scores are used up."""
        place = torch.from_numpy(np.ascontiguousarray(rows)).to(self.device)
        if self.protocol.sampled:
            self._ranks[place] = (scores >= scores[:, :1]).sum(1)
            return
        scores[:, self.n_items :] = -torch.inf
        if self.protocol.mask_history:
            scores.view(-1).index_fill_(0, self._history(rows), self.protocol.history_score)
        target = scores.gather(1, torch.from_numpy(self._targets[rows] - 1).to(self.device)[:, None])
        longest, beyond = self.k[-1], max(self.n_items, self.k[-1] + 1)
        if self.lists:
            top = min(longest if self.exact else longest + 1, self.n_items)
            values, items = top_items(scores, top)
            shown = min(longest, top)
            items = torch.where(values[:, :shown] > -torch.inf, items[:, :shown] + 1, 0)
            self._lists[place, :shown] = items.to(torch.int32)
        if self.lists and not self.exact:
            ranks = (values >= target).sum(1)
        else:  # floats count exactly up to 2 ** 24
            whole = torch.float32 if self._width < 1 << 24 else torch.float64
            ranks = scores.ge_(target).sum(1, dtype=whole).to(torch.int64)
        ranks.masked_fill_(target[:, 0] == -torch.inf, beyond)
        self._ranks[place] = ranks if self.exact else ranks.clamp_(max=longest + 1)

    def _history(self, rows: NDArray[np.int64]) -> Tensor:
        """Flat places, in a block of scores, of all items of the users' whole inputs."""
        start, lengths = self._asked.start[rows], self._asked.stop[rows] - self._asked.start[rows]
        row = np.repeat(np.arange(len(rows)) * self._width - 1, lengths)
        return torch.from_numpy(row + self.data.sequences.items[places_of(start, lengths)]).to(self.device)

    def _recalls(self, lists: NDArray[np.int32] | None) -> dict[int, NDArray[np.float64]] | None:
        many = self._asked.target_stop - self._asked.stop
        if lists is None or not (many > 1).any():
            return None
        rows = np.repeat(np.arange(len(many)), many)
        targets = np.asarray(self.data.sequences.items[places_of(self._asked.stop, many)], dtype=np.int64)
        return recall(lists, rows, targets, self.k)

    def _check(self, values: Tensor, what: str) -> None:
        """Every value is finite, or an error that names the method. A sum finds that in one pass."""
        if torch.isfinite(values.sum()) or torch.isfinite(values).all():
            return
        bad = int((~torch.isfinite(values)).sum())
        raise InputError(
            f"{self._method}: {bad} of {values.numel()} {what} values are not finite (NaN or infinite); "
            "if its training diverged, lower lr"
        )
