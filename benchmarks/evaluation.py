"""Full-ranking evaluation against the bare work: one matrix product per block of users and its top k.

    python benchmarks/evaluation.py FOLDER -o results/benchmarks/evaluation.json

FOLDER holds `interactions.parquet`. An untrained SASRec of width 64 stands for any method: the work is the same.
"bare" is products plus top 21 of all users in blocks of 512; "encode" is the states of all users; then recloom's
evaluation with the history masked: capped ranks (what validation uses), exact ranks with lists (what a test uses).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

import recloom
from recloom.data.files import write_text_atomically
from recloom.data.module import query_batches
from recloom.environment import environment
from recloom.methods import build
from recloom.training import evaluate


def seconds(work: Callable[[], object], turns: int = 5) -> float:
    """The best of some turns, after one to warm up."""
    work()
    times = []
    for _ in range(turns):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return round(min(times), 4)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    data = recloom.prepare(arguments.folder / "interactions.parquet", min_user=0, min_item=0)
    method = build("sasrec", data.catalog)[-1].method.eval()
    states = torch.cat([method.queries(batch)[:, 0] for _, batch in query_batches(data, "test", 50)])
    table = method.catalogue()[1:-1].t().contiguous()
    scores = torch.empty(512, data.n_items)

    def bare() -> None:
        for begin in range(0, len(states), 512):
            block = states[begin : begin + 512]
            torch.topk(torch.mm(block, table, out=scores[: len(block)]), 21)

    def encode() -> None:
        for _, batch in query_batches(data, "test", 50):
            method.queries(batch)

    found = {
        "users": len(states),
        "items": data.n_items,
        "bare_seconds": seconds(bare),
        "encode_seconds": seconds(encode),
        "capped_seconds": seconds(lambda: evaluate(method, data, exact=False, lists=False)),
        "exact_with_lists_seconds": seconds(lambda: evaluate(method, data)),
    }
    for kind in ("capped", "exact_with_lists"):
        ranking = found[f"{kind}_seconds"] - found["encode_seconds"]
        found[f"{kind}_ranking_against_bare"] = round(ranking / found["bare_seconds"], 2)
    print(json.dumps(found, indent=1))
    if arguments.out:
        text = json.dumps({"data": arguments.folder.name, **environment(), **found}, indent=1) + "\n"
        write_text_atomically(arguments.out, text)


if __name__ == "__main__":
    main()
