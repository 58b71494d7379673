"""Seconds of RecBole's S3-Rec pre-training steps; run by `pretraining.py` in an environment that has RecBole.

    VENV/bin/python peer_recbole.py ROWS.npz --steps 10

ROWS.npz holds `items` (rows of item numbers, 0 behind the end), `offsets` and `attributes` of the items. RecBole's own
model makes its views and losses (`calculate_loss`); only its reading of files is passed by.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import torch
from recbole.model.sequential_recommender.s3rec import S3Rec
from recbole.utils import ModelType  # noqa: F401  (RecBole's models need it to have been imported)


class Data:
    """What the model asks of a data set."""

    def __init__(self, n_items: int, attributes: torch.Tensor, n_attributes: int) -> None:
        self.item_num, self.counts = n_items + 1, {"item_id": n_items + 1, "attributes": n_attributes + 1}
        self.features = {"attributes": attributes}

    def num(self, field: str) -> int:
        return self.counts[field]

    def get_item_feature(self) -> dict[str, torch.Tensor]:
        return self.features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=100)
    arguments = parser.parse_args()
    loaded = np.load(arguments.rows)
    items, offsets, values = (loaded[name] for name in ("items", "offsets", "attributes"))
    counts = np.diff(offsets)
    table = np.zeros((len(counts), counts.max()), np.int64)
    table[np.arange(counts.max()) < counts[:, None]] = values
    config = {
        "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "LIST_SUFFIX": "_list", "NEG_PREFIX": "neg_",
        "ITEM_LIST_LENGTH_FIELD": "item_length", "MAX_ITEM_LIST_LENGTH": items.shape[1], "device": torch.device("cpu"),
        "n_layers": 2, "n_heads": 2, "hidden_size": 64, "inner_size": 256, "hidden_dropout_prob": 0.5,
        "attn_dropout_prob": 0.5, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "item_attribute": "attributes",
        "train_stage": "pretrain", "pre_model_path": "", "mask_ratio": 0.2, "aap_weight": 0.2, "mip_weight": 1.0,
        "map_weight": 1.0, "sp_weight": 0.5, "initializer_range": 0.02, "loss_type": "CE",
    }  # fmt: skip
    model = S3Rec(config, Data(len(counts) - 2, torch.from_numpy(table), int(values.max())))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = np.random.default_rng(0).permutation(len(items))
    seconds, seen = [], 0
    for step in range(arguments.steps + 2):
        rows = torch.from_numpy(items[order[step * arguments.batch_size : (step + 1) * arguments.batch_size]])
        began = time.perf_counter()
        loss = model.calculate_loss({"item_id_list": rows, "item_length": (rows != 0).sum(1)})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step >= 2:
            seconds.append(time.perf_counter() - began)
            seen += int((rows != 0).sum())
    found = {"step_seconds": statistics.median(seconds), "items_per_second": seen / sum(seconds)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
