"""Numbers printed with the S3-Rec files: counting all actions, held-out ones too, gives their PopRec rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import recloom
from recloom.evaluation import Evaluator


@pytest.mark.parametrize(
    ("name", "leaking", "honest", "removed", "within"),
    [
        (
            "beauty",
            [0.0080, 0.0152, 0.0217, 0.0044, 0.0068, 0.0084],
            [0.0075, 0.0115, 0.0203, 0.0041, 0.0055, 0.0076],
            0,
            1e-9,
        ),
        (
            "yelp",
            [0.0057, 0.0099, 0.0164, 0.0037, 0.0051, 0.0067],
            [0.0056, 0.0095, 0.0156, 0.0036, 0.0049, 0.0064],
            2027,
            1e-9,
        ),
        (
            "sports",
            [0.0056, 0.0094, 0.0192, 0.0041, 0.0053, 0.0078],
            [0.0057, 0.0091, 0.0151, 0.0041, 0.0052, 0.0067],
            0,
            1e-9,
        ),
        (
            "lastfm",
            [0.0275, 0.0440, 0.0615, 0.0151, 0.0203, 0.0248],
            [0.0248, 0.0385, 0.0606, 0.0135, 0.0180, 0.0237],
            0,
            1e-3,
        ),
    ],
)
def test_popularity_gives_the_published_rows(real_data, name, leaking, honest, removed, within):
    data = recloom.prepare(real_data / name / "interactions.parquet", min_user=0, min_item=0)
    n_users, n_items = len(data.split.test.users), data.n_items
    evaluator = Evaluator(data, protocol="full-mask")
    for counts, published in ((data.catalog.all_counts, leaking), (data.catalog.train_counts, honest)):
        place = np.zeros((n_items + 2, 1), dtype=np.float32)
        place[np.argsort(-counts[1:-1], kind="stable") + 1, 0] = -np.arange(n_items)
        evaluator.start(torch.from_numpy(place), "pop")
        evaluator.add_queries(np.arange(n_users), torch.ones(n_users, 1, 1))
        result = evaluator.result()
        found = result.metrics()
        ours = [round(found[f"{metric}@{k}"], 4) for metric in ("HR", "NDCG") for k in (5, 10, 20)]
        assert ours == pytest.approx(published, abs=within)  # lastfm: another order of equal counts
        assert (result.ranks == n_items).sum() == removed  # targets that the user's own history removes


@pytest.mark.parametrize(
    ("name", "published"),
    [("yelp", [0.0547, 0.0620, 0.0653, 0.0389, 0.0414, 0.0422]), ("beauty", [0] * 6), ("sports", [0] * 6)],
)
def test_copying_alone_finds_what_comes_back(real_data, name, published):
    """On Yelp as measured independently; on Beauty and Sports, where nothing comes back, exactly nothing."""
    data = recloom.prepare(real_data / name / "interactions.parquet", min_user=0, min_item=0)
    found = recloom.train("repeat-recent", data).evaluate(protocol="full-open").metrics()
    ours = [round(found[f"{metric}@{k}"], 4) for metric in ("HR", "NDCG") for k in (5, 10, 20)]
    assert ours == pytest.approx(published, abs=1e-9)
