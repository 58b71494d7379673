"""Which items the same people take, from training actions."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray


def correlated_items(
    users: NDArray[np.int64], items: NDArray[np.int32], n_items: int, k: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k items most correlated with each, by item-based filtering with inverse user frequency.

    `sim(i, j) = sum over users with both of 1 / log(1 + distinct items of the user) / sqrt(users of i * users of j)`.

    Args:
        users, items: `(actions,)` of training; an item counts once a user.

    Returns:
        ids: `(n_items + 2, k)`, best first, equal ones by number; 0 where there are no more.
        scores: `(n_items + 2, k)`, 0 there.

    Source: Breese et al., UAI 1998, as in the authors' code of Liu et al., CoSeRec, 2021.
    """
    pairs = np.unique(users.astype(np.int64) * (n_items + 1) + items)
    who, what = np.divmod(pairs, n_items + 1)
    _, who, lengths = np.unique(who, return_inverse=True, return_counts=True)
    popularity = np.bincount(what, minlength=n_items + 1)
    own = np.sqrt(1 / np.log1p(lengths))[who] / np.sqrt(popularity[what])
    shape = (len(lengths), n_items + 1)
    places = torch.from_numpy(np.stack([who, what]))
    matrix = torch.sparse_coo_tensor(places, torch.from_numpy(own), shape, check_invariants=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR")  # torch calls its own sparse product new
        product = torch.sparse.mm(matrix.t(), matrix).coalesce()
    (rows, columns), values = product.indices().numpy(), product.values().numpy()
    apart = rows != columns
    rows, columns, values = rows[apart], columns[apart], values[apart]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = rank < k
    ids, scores = np.zeros((n_items + 2, k), np.int64), np.zeros((n_items + 2, k), np.float32)
    ids[rows[kept], rank[kept]], scores[rows[kept], rank[kept]] = columns[kept], values[kept]
    return ids, scores
