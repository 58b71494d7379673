"""One history through the public API in process, and all users of a data set at once.

    python benchmarks/serving.py FOLDER -o results/benchmarks/serving.json

FOLDER holds `interactions.parquet`. `bare` is the least that has to happen for one history: two layers on its
items, one product with the catalogue, the top ten. `api` is `run.recommend([history], k=10)` with external ids and
the seen filter, until ids and scores are there; `frame` also makes the frame.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch

import recloom
from recloom.data.batch import history_batch
from recloom.data.files import write_text_atomically
from recloom.environment import environment


def milliseconds(work: Callable[[], object], turns: int = 300) -> dict[str, float]:
    """Median and 95th percentile after a warm-up."""
    times = []
    for turn in range(turns + 50):
        began = time.perf_counter()
        work()
        if turn >= 50:
            times.append(1e3 * (time.perf_counter() - began))
    return {"median": round(statistics.median(times), 3), "p95": round(sorted(times)[int(0.95 * turns)], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    data = recloom.prepare(arguments.folder / "interactions.parquet", min_user=0, min_item=0)
    run = recloom.train("sasrec", data, epochs=1, progress=False)
    offsets = data.sequences.offsets
    inside = data.sequences.items[offsets[5] : offsets[6]].astype("int64")
    history, table = data.catalog.decode(inside), run.method.catalogue().detach()[1:-1].t().contiguous()
    batch = history_batch([inside], 50)

    @torch.inference_mode()
    def bare() -> None:
        torch.topk(run.method.queries(batch)[:, 0] @ table, 10)

    everybody = [data.catalog.decode(data.sequences.items[a:b]) for a, b in pairwise(offsets)]
    began = time.perf_counter()
    run.recommend(everybody, k=10)
    users_per_second = len(everybody) / (time.perf_counter() - began)
    found = {
        "items": data.n_items,
        "bare_ms": milliseconds(bare),
        "api_ms": milliseconds(lambda: run.recommend([history], k=10).items),
        "frame_ms": milliseconds(lambda: run.recommend([history], k=10).frame),
        "bulk_users_per_second": round(users_per_second),
    }
    print(json.dumps(found, indent=1))
    if arguments.out:
        text = json.dumps({"data": arguments.folder.name, **environment(), **found}, indent=1) + "\n"
        write_text_atomically(arguments.out, text)


if __name__ == "__main__":
    main()
