"""Training as a user runs it against plain PyTorch written for speed, in turns on one machine.

    python benchmarks/training.py FOLDER -o results/benchmarks/training.json

FOLDER holds `interactions.parquet`. Each turn is a process of its own: `limit.py`, then `recloom train` with its
Trainer, callbacks, checkpoint and validation, whose epochs are read from the run's history. Also measured: seconds
of wall time until validation NDCG@10 first reaches two levels, peak memory, and the time of an import.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from recloom.data.files import write_text_atomically
from recloom.environment import environment

TRAIN = """
import json, resource, sys, time
began = time.perf_counter()
import recloom
folder, out, numbers = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
method = numbers.pop("method", "sasrec")
run = recloom.train(method, folder, out=out, progress=False, **numbers)
wall, peak = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"wall": wall, "peak_mib": peak}))
"""


def python(*command: str) -> dict[str, float]:
    """The JSON line that a Python process prints last."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def train(data: Path, **numbers: object) -> tuple[pl.DataFrame, dict[str, float]]:
    """History and totals of one training run."""
    with tempfile.TemporaryDirectory() as folder:
        totals = python("-c", TRAIN, str(data), f"{folder}/run", json.dumps(numbers))
        return pl.read_csv(f"{folder}/run/history-0.csv"), totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--levels", default="0.040,0.067", help="validation NDCG@10 to reach")
    parser.add_argument("--epochs-to-levels", type=int, default=25)
    arguments = parser.parse_args()
    import recloom

    found: dict[str, object] = {"data": arguments.folder.name, **environment(), "attention_dropout": 0.0}
    imports = [import_seconds() for _ in range(3)]
    found["import_seconds"] = round(min(imports), 3)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        recloom.prepare(arguments.folder / "interactions.parquet", min_user=0, min_item=0, out=data)
        for precision in ("fp32", "bf16"):
            limit, ours, peak = [], [], 0.0
            for _ in range(arguments.turns):
                plain = str(Path(__file__).with_name("limit.py"))
                line = python(plain, str(arguments.folder), "--precision", precision, "--attention-dropout", "0")
                limit.append(line["epoch_seconds"])
                history, totals = train(data, precision=precision, epochs=4)
                ours.append(statistics.median(history["train_seconds"].to_list()[1:]))
                peak = max(peak, totals["peak_mib"])
            best, mine = min(limit), min(ours)
            found[precision] = {
                "limit_epoch_seconds": limit, "recloom_epoch_seconds": [round(x, 3) for x in ours],
                "ratio_of_best": round(mine / best, 3), "targets_per_second": round(line["targets"] / mine),
                "peak_mib": round(peak),
            }  # fmt: skip
            print(precision, found[precision], flush=True)
        history, totals = train(data, epochs=arguments.epochs_to_levels)
        start_up = totals["wall"] - history.select(pl.col("train_seconds") + pl.col("valid_seconds")).sum().item()
        clock = start_up + (history["train_seconds"] + history["valid_seconds"]).cum_sum()
        reached = list(zip(clock, history["valid/NDCG@10"], strict=True))
        found["wall_seconds_to"] = {
            level: next((round(seconds, 1) for seconds, value in reached if value >= float(level)), None)
            for level in arguments.levels.split(",")
        }
        print("wall seconds to validation NDCG@10", found["wall_seconds_to"])
    if arguments.out:
        write_text_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


def import_seconds() -> float:
    """`import recloom` in a fresh process, less the start of the interpreter."""
    code = "import time; b = time.perf_counter(); import recloom; print(time.perf_counter() - b)"
    began = time.perf_counter()
    seconds = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert time.perf_counter() - began >= seconds
    return seconds


if __name__ == "__main__":
    main()
