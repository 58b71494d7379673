"""Recommendations from a trained method: exact search, whatever the history."""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from recloom.data.catalog import Catalog
from recloom.errors import InputError
from recloom.recommend.exact import ExactSearch
from recloom.recommend.histories import Histories, read_histories
from recloom.recommend.recommendations import Counts, Labels, Recommendations
from recloom.recommend.restrictions import Ids, Restrictions, read_restrictions
from recloom.recommend.search import ScoreSearch, VectorSearch
from recloom.recommend.similar import similar_items
from recloom.recommend.to_parquet import Written, parts, write_parquet

if TYPE_CHECKING:
    from recloom.recommend.artifact import ExportedMethod
    from recloom.training.method import Method

logger = logging.getLogger(__name__)


class Recommender:
    """Raw histories in, items out.

    The catalogue matrix is computed here, once: a method that is trained further needs a new Recommender. The
    method is put in eval mode on `device`. One Recommender may serve several threads.

    Args:
        method: a trained method, of vectors or of scores.
        catalog: of the items it was trained on.
        device: "cpu", "cuda", ...

    Raises:
        InputError: the catalog holds another number of items than the method, there is no such device, or the
            method's vectors are not finite.
    """

    @torch.inference_mode()
    def __init__(self, method: Method | ExportedMethod, catalog: Catalog, *, device: str = "cpu") -> None:
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device={device!r}: torch finds no CUDA device here; use device='cpu'")
        self.method, self.catalog, self.device = method.to(device).eval(), catalog, torch.device(device)
        self.search: VectorSearch | ScoreSearch = (
            VectorSearch(method, catalog) if method.ranks_by == "vectors" else ScoreSearch(method, catalog)  # type: ignore[arg-type]  # an artifact has vectors
        )
        self.labels = Labels(catalog)
        counts = catalog.train_counts
        self._cold = np.flatnonzero(counts[1 : catalog.mask_id] == 0) + 1 if counts.any() else np.empty(0, np.int64)
        self._popularity = torch.from_numpy(catalog.train_counts[1 : catalog.mask_id].astype(np.float32)).to(device)

    def recommend(
        self,
        histories: Any,
        k: int = 10,
        *,
        user_ids: Iterable[Any] | None = None,
        filter_seen: bool = True,
        allow: Ids = None,
        deny: Ids = None,
        cold: bool = False,
    ) -> Recommendations:
        """The `k` best items for each history; equal scores in the order of the catalogue.

        Args:
            histories: a list of lists of item ids, oldest first, or a frame with `user_id`, `item_id` and, if its
                rows are not in the order of time, `timestamp`; or `Histories`. Ids that were never seen are ignored
                and counted; a history without any known item gets the most popular items.
            k: how many items; fewer come back where no more may be recommended.
            user_ids: an id for each history of a list; the number of the history if None. They name the rows, and
                whom `allow` and `deny` mean; nobody is recognised by them (`Run.recommend(users=...)` does that).
            filter_seen: leave out every item of the whole history, not only of the part that the method reads.
            allow, deny: item ids for everybody, or a dict from user id to item ids. Unknown ids are ignored and
                counted; an allow-list of unknown ids only is an error.
            cold: also items without an action in training, known by their attributes alone. Otherwise they are left
                out, whatever `allow` says: nothing was learnt of them.

        Raises:
            InputError: arguments that cannot be used, `cold` with a method whose item vectors do not read attributes,
                or scores that are not finite; it names the method.
        """
        k = _positive(k)
        asked = read_histories(histories, self.catalog, user_ids)
        limits = self._limits(allow, deny, cold)
        found = self._recommend(asked, k, filter_seen, limits)
        _log(found.counts)
        return found

    def recommend_to_parquet(
        self,
        histories: Any,
        path: str | Path,
        k: int = 10,
        *,
        user_ids: Iterable[Any] | None = None,
        filter_seen: bool = True,
        allow: Ids = None,
        deny: Ids = None,
        cold: bool = False,
    ) -> Written:
        """As `recommend`, into a Parquet file of `user_id, item_id, score, rank`, and `intent` if there are several.

        Histories may also be any iterable, such as a generator; it is read part by part, so that memory does not
        grow with the number of users. The file appears when it is complete.
        """
        k, file = _positive(k), Path(path).expanduser()
        if file.is_dir():
            raise InputError(f"{file} is a folder; name a file, such as {file / 'recommendations.parquet'}")
        limits = self._limits(allow, deny, cold)
        asked = parts(histories, self.catalog, user_ids, k)
        written = write_parquet(file, (self._recommend(part, k, filter_seen, limits) for part in asked))
        _log(written.counts)
        return written

    @torch.inference_mode()
    def similar(self, item: Any, k: int = 10) -> pl.DataFrame:
        """The items whose vectors point the same way.

        Args:
            item: an external id.
            k: how many; left out are the item itself and those of which nothing was learnt.

        Returns:
            Columns `item_id`, `score` (cosine, -1 to 1), `rank` (from 1).

        Raises:
            InputError: an unknown item, one of which nothing was learnt, or a method without item vectors.
        """
        unknown = self._cold[:0] if self.method.scores_cold_items else self._cold
        return similar_items(self.search, self.labels, item, _positive(k), unknown)

    def _limits(self, allow: Ids, deny: Ids, cold: bool) -> Restrictions:
        """What may be recommended; items that training never saw only if asked for."""
        if cold and not self.method.scores_cold_items:
            raise InputError(
                f"cold: {self.search.name} does not score items by their attributes, so it knows nothing of items "
                f"without actions in training; train a method that does on data with attributes (sasrec-f with "
                f"scored_by='items', loom, mminforec, fm, autoint), or leave cold out"
            )
        limits = read_restrictions(allow, deny, self.catalog)
        if cold:
            return limits
        warm = limits.without(self._cold)
        if warm.allowed is not None and not len(warm.allowed) and len(limits.allowed):  # type: ignore[arg-type]
            raise InputError(
                f"allow: none of its {len(limits.allowed)} items has an action in training, and such items are left "  # type: ignore[arg-type]
                "out; say cold=True (--cold) with a method that scores items by their attributes"
            )
        return warm

    @torch.inference_mode()
    def _recommend(self, asked: Histories, k: int, filter_seen: bool, limits: Restrictions) -> Recommendations:
        if limits.allowed_by_user or limits.denied_by_user:
            limits.check_users(asked.user_list)
        if self.method.training:
            self.method.eval()
        found = ExactSearch(self.search, self._popularity, asked, k, filter_seen, limits).run(self.method.length)
        counts = Counts(
            users=len(asked),
            unknown_items=asked.unknown_items,
            fallbacks=len(found.fallback_rows),
            unknown_allow=limits.unknown_allow,
            unknown_deny=limits.unknown_deny,
            unread=0 if self.method.reads_histories else _new_people(asked),
        )
        return Recommendations(
            asked.users, found.items, found.scores, found.intents, found.fallback_rows, counts, self.labels
        )


def _new_people(asked: Histories) -> int:
    """Histories with items of people who are not of the training data."""
    new = np.ones(len(asked), dtype=bool) if asked.numbers is None else asked.numbers < 0
    return int(np.count_nonzero(new & (asked.lengths > 0)))


def _positive(k: int) -> int:
    try:
        number = operator.index(k)
    except TypeError:
        number = 0
    if number < 1 or isinstance(k, bool):
        raise InputError(f"k={k!r}: how many items to recommend; give a whole number from 1")
    return number


def _log(counts: Counts) -> None:
    if counts.message:
        logger.log(logging.WARNING if counts.fallbacks or counts.unread else logging.INFO, counts.message)
