"""S3-Rec's pre-training as a user runs it against plain PyTorch doing the same step, in turns on one machine.

    python benchmarks/pretraining.py FOLDER -o results/benchmarks/pretraining.json [--recbole VENV/bin/python]

FOLDER holds `interactions.parquet` and `items.parquet`. Each turn is a process of its own: `limit_pretraining.py`, then
`recloom train s3rec --stage pretrain` with its Trainer and checkpoints. A row is a whole history. What is counted is
items: every real item of a row is a target of AAP or of MAP and MIP. With an interpreter that has RecBole, ten of its
steps on the same rows are timed too, by `peer_recbole.py`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from training import python

from recloom.data.batch import gather
from recloom.data.files import write_text_atomically
from recloom.environment import environment
from recloom.reproduce import read_data

TRAIN = """
import json, resource, sys
from pathlib import Path
import recloom
from recloom.reproduce import read_data
data = read_data(Path(sys.argv[1]).parent, Path(sys.argv[1]).name)
numbers = {"pretrain_windows": "whole", "pretrain_epochs": 3}
run = recloom.train("s3rec", data, out=sys.argv[2], stage="pretrain", progress=False, **numbers)
print(json.dumps({"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def save_rows(folder: Path, file: Path) -> None:
    """The training histories, the latest 50 items of each, and the items' attributes."""
    data = read_data(folder.parent, folder.name)
    stop = data.split.train_stop
    start = np.maximum(data.sequences.offsets[:-1], stop - 50)
    items, catalog = gather(data.sequences.items, start, stop), data.catalog
    np.savez(file, items=items, offsets=catalog.attribute_offsets, attributes=catalog.attribute_values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--recbole", type=Path, help="interpreter of an environment with RecBole")
    arguments = parser.parse_args()
    plain, ours, peak, line = [], [], 0.0, {}
    for _ in range(arguments.turns):
        line = python(str(Path(__file__).with_name("limit_pretraining.py")), str(arguments.folder))
        plain.append(line["epoch_seconds"])
        with tempfile.TemporaryDirectory() as folder:
            peak = max(peak, python("-c", TRAIN, str(arguments.folder), f"{folder}/run")["peak_mib"])
            history = pl.read_csv(f"{folder}/run/history-0.csv")
        ours.append(round(statistics.median(history["train_seconds"].to_list()[1:]), 3))
    found = {
        "data": arguments.folder.name, **environment(), "items_per_epoch": line["items"],
        "plain_epoch_seconds": plain, "recloom_epoch_seconds": ours, "ratio_of_best": round(min(ours) / min(plain), 3),
        "items_per_second": round(line["items"] / min(ours)), "peak_mib": round(peak),
    }  # fmt: skip
    if arguments.recbole:
        with tempfile.TemporaryDirectory() as folder:
            save_rows(arguments.folder, Path(folder) / "rows.npz")
            script = Path(__file__).with_name("peer_recbole.py")
            done = subprocess.run(
                [arguments.recbole, script, f"{folder}/rows.npz"], capture_output=True, text=True, check=False
            )
        if done.returncode:
            raise SystemExit(done.stderr)
        peer = json.loads(done.stdout.strip().splitlines()[-1])
        found["recbole_items_per_second"] = round(peer["items_per_second"])
        found["times_faster_than_recbole"] = round(line["items"] / min(ours) / peer["items_per_second"], 1)
    print(json.dumps(found, indent=1))
    if arguments.out:
        write_text_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
