"""Small data sets whose right answers are known."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import recloom

torch.set_num_threads(1)  # the models are small, and two threads wait for each other on a busy machine


def cycle_log(n_users=300, n_items=30, length=10, seed=0):
    """Every user walks the same cycle of items from a random start: the next item is certain."""
    draw = np.random.default_rng(seed)
    items = (draw.integers(0, n_items, n_users)[:, None] + np.arange(length)) % n_items + 100
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(n_users), length),
            "item_id": items.ravel(),
            "timestamp": np.tile(np.arange(length), n_users),
        }
    )


@pytest.fixture(scope="session")
def make_cycle_log():
    """The function that makes the log of a cycle."""
    return cycle_log


@pytest.fixture(scope="session")
def cycle():
    """The cycle as prepared data: 300 users, 30 items, 10 actions each."""
    return recloom.prepare(cycle_log(), min_user=0, min_item=0)


@pytest.fixture(scope="session")
def cycle_with_attributes():
    """The same cycle; every item but the last has an attribute of five and one of three."""
    ids = np.arange(100, 130)
    lists = [[f"a{i % 5}", f"b{i % 3}"] for i in ids[:-1]] + [[]]
    items = pl.DataFrame({"item_id": ids, "attributes": lists})
    return recloom.prepare(cycle_log(), items=items, min_user=0, min_item=0)


@pytest.fixture(scope="session")
def layer_of_pytorch():
    """The function that makes PyTorch's own layer, with ReLU and without dropout, of a post-norm block's weights."""

    def make(block, eps):
        dim, attention = block.widen.in_features, block.attention
        numbers = {"dropout": 0.0, "activation": "relu", "layer_norm_eps": eps, "batch_first": True}
        layer = torch.nn.TransformerEncoderLayer(dim, attention.heads, block.widen.out_features, **numbers).double()
        projected = (attention.query, attention.key_value)
        layer.self_attn.in_proj_weight.data = torch.cat([part.weight for part in projected]).detach()
        layer.self_attn.in_proj_bias.data = torch.cat([part.bias for part in projected]).detach()
        for theirs, ours in (
            (layer.self_attn.out_proj, attention.output),
            (layer.linear1, block.widen),
            (layer.linear2, block.narrow),
            (layer.norm1, block.norm_attention),
            (layer.norm2, block.norm_forward),
        ):
            theirs.load_state_dict(ours.state_dict())
        return layer.eval()

    return make


@pytest.fixture
def real_data():
    """The folder of real data sets, or a skip that says what is missing."""
    folder = os.environ.get("RECLOOM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("RECLOOM_DATA does not name a folder of real data sets")
    return Path(folder)
