"""Similar items against cosines by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recloom.errors import InputError
from recloom.recommend import Recommender

from .conftest import N_ITEMS, LastItem, LastItemScores


def test_equals_cosines_by_hand(catalog, vectors):
    vectors[9] = 0  # has no direction: as far from everything as a right angle
    recommender = Recommender(LastItem(vectors), catalog)
    unit = torch.nn.functional.normalize(vectors[1:-1].double(), dim=1)
    for index in (1, 30, N_ITEMS):
        cosine = (unit @ unit[index - 1]).numpy()
        order = [place for place in np.argsort(-cosine) if place != index - 1]
        frame = recommender.similar(catalog.item_ids[index - 1], k=N_ITEMS + 5)
        assert frame.columns == ["item_id", "score", "rank"]
        assert frame["item_id"].to_list() == catalog.item_ids[order].tolist()
        assert frame["score"].to_list() == pytest.approx(cosine[order], abs=1e-5)
        assert frame["rank"].to_list() == list(range(1, N_ITEMS))
        assert recommender.similar(catalog.item_ids[index - 1], k=3).equals(frame.head(3))


def test_columns_that_are_no_vector_do_not_count(catalog, vectors):
    method = LastItem(vectors)
    plain = Recommender(method, catalog).similar(catalog.item_ids[0], k=5)
    wide = LastItem(torch.cat([vectors, torch.rand(len(vectors), 2) * 9], 1))
    assert not Recommender(wide, catalog).similar(catalog.item_ids[0], k=5).equals(plain)
    wide.bias_columns = 2
    assert Recommender(wide, catalog).similar(catalog.item_ids[0], k=5).equals(plain)


def test_an_unknown_item_names_close_ones(catalog, vectors):
    recommender = Recommender(LastItem(vectors), catalog)
    with pytest.raises(InputError, match=r"'title 41' is not in the catalogue; did you mean .*Title 41"):
        recommender.similar("title 41")
    close = "item-4" if isinstance(catalog.item_ids[0], str) else "1411"
    with pytest.raises(InputError, match=f"{close!r} is not in the catalogue; did you mean"):
        recommender.similar(close)
    with pytest.raises(InputError, match=r"catalogue$"):
        recommender.similar("%%%%")


def test_items_of_which_nothing_was_learnt_are_left_out(catalog, vectors):
    counts = np.ones(N_ITEMS + 2, dtype=np.int64)
    counts[[7, 9]] = 0
    some, method = replace(catalog, train_counts=counts), LastItem(vectors)
    ids = catalog.item_ids
    found = Recommender(method, some).similar(ids[0], k=N_ITEMS)["item_id"].to_list()
    assert sorted(found) == sorted(set(ids[1:].tolist()) - {ids[6], ids[8]})
    with pytest.raises(InputError, match="nothing was learnt of item"):
        Recommender(method, some).similar(ids[6])
    method.scores_cold_items = True
    assert len(Recommender(method, some).similar(ids[6], k=N_ITEMS)) == N_ITEMS - 1


def test_methods_without_item_vectors(catalog, vectors):
    with pytest.raises(InputError, match="LastItemScores ranks by scores and has no item vectors"):
        Recommender(LastItemScores(vectors), catalog).similar(catalog.item_ids[0])
    with pytest.raises(InputError, match="LastItem knows one number an item"):
        Recommender(LastItem(vectors[:, :1].contiguous()), catalog).similar(catalog.item_ids[0])
