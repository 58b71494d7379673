"""Items like an item."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from recloom.errors import InputError
from recloom.recommend.recommendations import Labels
from recloom.recommend.search import ScoreSearch, VectorSearch, best

NAMES_COMPARED = 50_000
"""The most ids or titles that are compared letter by letter to find close ones."""


def similar_items(
    search: VectorSearch | ScoreSearch, labels: Labels, item: Any, k: int, unknown: NDArray[np.int64]
) -> pl.DataFrame:
    """The `k` items with the largest cosine to `item`, but `unknown` ones (indices); see `Recommender.similar`."""
    if isinstance(search, ScoreSearch):
        raise InputError(
            f"{search.name} ranks by scores and has no item vectors; similar items need a method of vectors"
        )
    vectors = search.vectors
    if len(vectors) < 2:
        raise InputError(
            f"{search.name} knows one number an item, which tells nothing of how items are alike; "
            "similar items need a method that learns vectors, such as sasrec"
        )
    index = int(labels.catalog.encode([item])[0])
    if not index:
        raise InputError(f"item {item!r} is not in the catalogue{_close(labels, item)}")
    if index in unknown:
        raise InputError(
            f"nothing was learnt of item {item!r}: training has no action on it, and {search.name} does not score "
            "items by their attributes"
        )
    unit = vectors[:, index - 1] / search.lengths[index - 1]
    cosine = ((unit @ vectors) / search.lengths)[None]
    cosine[0, index - 1] = -torch.inf
    cosine[0, unknown - 1] = -torch.inf
    values, columns = best(cosine, min(k, len(search.lengths) - 1 - len(unknown)))
    return pl.DataFrame(
        [
            labels.ids.gather(columns[0].cpu().numpy()),
            pl.Series("score", values[0].cpu().numpy(), dtype=pl.Float32),
            pl.Series("rank", range(1, len(columns[0]) + 1), dtype=pl.Int32),
        ]
    )


def _close(labels: Labels, item: Any) -> str:
    """Ids that look like this one, or whose titles do, as the end of a sentence."""
    text = str(item).lower()
    ids, titles = labels.ids.cast(pl.String), labels.titles
    names = pl.DataFrame({"id": ids, "title": titles})
    holds = names.filter(pl.col("title").str.to_lowercase().str.contains(text, literal=True)) if text else names.clear()
    near = holds.head(3).rows()
    if len(names) <= NAMES_COMPARED:
        by_id = difflib.get_close_matches(str(item), names["id"].to_list(), n=3)
        by_title = difflib.get_close_matches(str(item), names["title"].to_list(), n=3)
        close = names.filter(pl.col("id").is_in(by_id) | pl.col("title").is_in(by_title)).rows()
        near = list(dict.fromkeys([*near, *close]))[:3]
    if not near:
        return ""
    shown = [repr(one) if one == title else f"{one!r} ({title})" for one, title in near]
    return f"; did you mean {', '.join(shown)}?"
