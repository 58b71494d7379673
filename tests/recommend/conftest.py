"""A method and a catalogue whose recommendations can be worked out by hand."""

import numpy as np
import pytest
import torch

from recloom.data.catalog import Catalog

N_ITEMS = 57


class LastItem(torch.nn.Module):
    """Asks for what lies near the latest items: one query for each of the last `intents` items it reads."""

    ranks_by, seen_items, reads_histories, scores_cold_items = "vectors", None, True, False

    def __init__(self, vectors, length=4, intents=1):
        super().__init__()
        self.vectors, self.length, self.intents = torch.nn.Parameter(vectors), length, intents

    @property
    def device(self):
        return self.vectors.device

    def queries(self, batch):
        assert batch.items.shape[1] <= self.length
        last = batch.lengths[:, None] - 1 - torch.arange(self.intents)
        return self.vectors[batch.items.gather(1, last.clamp(min=0))]

    def catalogue(self):
        return self.vectors


class LastItemScores(LastItem):
    """The same as a method of scores."""

    ranks_by = "scores"

    def score(self, batch, items):
        return (super().queries(batch) @ self.vectors[items].t()).amax(1)

    def queries(self, batch):
        raise AssertionError("a method of scores has no queries")

    catalogue = queries


def make_catalog(ids, titles=None):
    n, draw = len(ids), np.random.default_rng(3)
    counts = np.zeros(n + 2, dtype=np.int64)
    counts[1:-1] = 1 + draw.permutation(n) // 2  # pairs of equally popular items
    return Catalog(
        item_ids=np.array(ids, dtype=np.int64 if isinstance(ids[0], int) else object),
        titles=titles,
        attribute_names=[],
        attribute_offsets=np.zeros(n + 3, dtype=np.int64),
        attribute_values=np.empty(0, dtype=np.int32),
        train_counts=counts,
        all_counts=counts,
    )


@pytest.fixture
def vectors():
    """Random vectors; padding and mask would win every search if they took part."""
    table = torch.randn(N_ITEMS + 2, 8, generator=torch.Generator().manual_seed(0))
    table[0], table[-1] = 1e3, -1e3
    return table


@pytest.fixture(params=["int", "str"])
def catalog(request):
    """Item i of the method is the id 100 + i, or "item-i"."""
    ids = [100 + i if request.param == "int" else f"item-{i:02d}" for i in range(1, N_ITEMS + 1)]
    return make_catalog(ids, [None if i % 5 == 0 else f"Title {i}" for i in range(1, N_ITEMS + 1)])


@pytest.fixture
def histories():
    """Indices 1..n: lengths 1 to 12, repeats among them."""
    draw = np.random.default_rng(1)
    return [draw.integers(1, N_ITEMS + 1, length).tolist() for length in [*range(1, 13), 3, 1, 7, 12]]


@pytest.fixture
def raw(catalog, histories):
    """The same histories as external ids."""
    return [catalog.item_ids[np.array(history) - 1].tolist() for history in histories]
