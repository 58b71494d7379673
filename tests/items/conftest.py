"""A catalog with attributes, drawn."""

import numpy as np
import pytest

from recloom.data.catalog import Catalog


def catalog_of(lists, n_attributes, train_counts=None):
    """Items with these lists of attributes, ids 1..n."""
    lengths = [0, *map(len, lists), 0]
    return Catalog(
        item_ids=np.arange(len(lists)) + 500,
        attribute_names=[f"a{i}" for i in range(1, n_attributes + 1)],
        attribute_offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        attribute_values=np.array([value for values in lists for value in values], dtype=np.int32),
        train_counts=np.zeros(0, dtype=np.int64) if train_counts is None else np.array([0, *train_counts, 0]),
    )


@pytest.fixture(scope="session")
def make_catalog():
    """The function that makes a catalog from lists of attributes."""
    return catalog_of


@pytest.fixture(scope="session")
def catalog():
    """20 items with 0 to 6 of 9 attributes; item 1 has none and item 2 has one."""
    draw = np.random.default_rng(0)
    sizes = [0, 1, *draw.integers(0, 7, 18)]
    return catalog_of([sorted(draw.choice(9, size, replace=False) + 1) for size in sizes], 9)
