"""Twenty million rows from a Parquet file to prepared data on disk: seconds and peak memory.

    python benchmarks/preparing.py -o results/benchmarks/preparing.json

The log is drawn with a popularity skew, shuffled, with string-free ids and unix times, and removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from recloom.data.files import write_text_atomically
from recloom.environment import environment


def draw(file: Path, rows: int) -> None:
    """A log of that many rows, a twentieth as many users and a hundredth as many items."""
    chance = np.random.default_rng(0)
    n_users, n_items = rows // 20, rows // 100
    items = (n_items * chance.random(rows) ** 3).astype(np.int64)
    users, times = chance.integers(0, n_users, rows), chance.integers(10**9, 2 * 10**9, rows)
    pl.DataFrame({"user_id": users, "item_id": items, "timestamp": times}).write_parquet(file)


DRAW = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from preparing import draw
draw(Path(sys.argv[2]), int(sys.argv[3]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here, log = str(Path(__file__).parent), f"{folder}/log.parquet"
        subprocess.run([sys.executable, "-c", DRAW, here, log, str(arguments.rows)], check=True)
        import recloom

        began = time.perf_counter()
        data = recloom.prepare(f"{folder}/log.parquet", out=f"{folder}/data")
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    actions = len(data.sequences.items)
    found = {"rows": arguments.rows, "actions": actions, "seconds": round(seconds, 1), "peak_gib": round(peak, 2)}
    print(json.dumps(found))
    if arguments.out:
        text = json.dumps({**environment(), **found}, indent=1) + "\n"
        write_text_atomically(arguments.out, text)


if __name__ == "__main__":
    main()
