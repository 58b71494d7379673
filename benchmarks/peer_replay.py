"""Seconds of an epoch of RePlay's SasRec, run by the interpreter of an environment that has `replay-rec[torch]`.

    python peer_replay.py FOLDER --batches 23

FOLDER holds `interactions.parquet`. The shape is that of `limit.py`: width 64, 2 blocks, 2 heads, 50 items, dropout .5,
Adam at 1e-3, softmax over all items at every position, 256 users a batch. The first 3 batches are not counted;
the epoch is the median step times the number of batches. RePlay's feed-forward is 64 wide, the limit's 256, which
favours RePlay.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import lightning as L
import polars as pl
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.nn.lightning import LightningModule
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.sequential import SasRec
from replay.nn.transform.template import make_default_sasrec_transforms

LENGTH, WIDTH = 50, 64


class StepTimes(L.Callback):
    """When each training batch ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--users-per-batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=23)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    actions = pl.read_parquet(arguments.folder / "interactions.parquet")
    n_items = actions["item_id"].max()
    rows = actions.group_by("user_id", maintain_order=True).agg((pl.col("item_id") - 1).cast(pl.Int64))
    train = rows.with_columns(
        pl.col("item_id").list.slice(0, pl.col("item_id").list.len() - 2), user_id=pl.int_range(pl.len())
    )
    source = [TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")]
    info = TensorFeatureInfo(
        "item_id", is_seq=True, feature_type=FeatureType.CATEGORICAL, embedding_dim=WIDTH, padding_value=n_items,
        cardinality=n_items, feature_hint=FeatureHint.ITEM_ID, feature_sources=source,
    )  # fmt: skip
    schema = TensorSchema([info])
    model = SasRec.from_params(
        schema, embedding_dim=WIDTH, num_heads=2, num_blocks=2, max_sequence_length=LENGTH, dropout=0.5
    )
    with tempfile.TemporaryDirectory() as folder:
        train.write_parquet(f"{folder}/train.parquet")
        data = ParquetModule(
            batch_size=arguments.users_per_batch,
            metadata={"train": {"user_id": {}, "item_id": {"shape": LENGTH + 1, "padding": n_items}}},
            transforms=make_default_sasrec_transforms(schema),
            train_path=f"{folder}/train.parquet",
        )
        times = StepTimes()
        trainer = L.Trainer(
            accelerator="cpu", devices=1, max_epochs=1, limit_train_batches=arguments.batches, limit_val_batches=0,
            logger=False,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, callbacks=[times],
        )  # fmt: skip
        trainer.fit(LightningModule(model, OptimizerFactory(learning_rate=1e-3)), datamodule=data)
    steps = [after - before for before, after in zip(times.ends[2:], times.ends[3:], strict=False)]
    batches = -(-len(train) // arguments.users_per_batch)
    print(json.dumps({
        "version": importlib.metadata.version("replay-rec"), "users_per_batch": arguments.users_per_batch,
        "step_seconds": round(statistics.median(steps), 4),
        "epoch_seconds": round(statistics.median(steps) * batches, 1),
        "steps_timed": len(steps),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
