"""MCLRec as recloom trains it beside plain PyTorch doing the nine passes of the authors' code, in turns on one machine.

    python benchmarks/contrastive.py FOLDER -o results/benchmarks/contrastive.json

FOLDER holds `interactions.parquet`. Rows are prefixes of a fifth of the users, 256 a batch. The plain version makes, in
each of the three steps of a batch, one pass over the rows and one over each of two views, and the wasted pass over the
rows in the augmenters' step; `without_waste` leaves that one out, and what that is worth is the ratio of both on each
batch, of which the median and the quartiles are given. Views are recloom's in both. The share of views in a
step is measured by itself: MCLRec's two different operators of three, and CoSeRec's one of five, twice, in a step of
CoSeRec. `any_rows` is the time of recloom's steps on batches of any rows, as the authors draw them, over that of the
same steps with every row as long as the longest of its batch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import limit
import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import nn
from training import train

import recloom
from recloom.data.batch import SequenceBatch
from recloom.data.files import write_text_atomically
from recloom.data.module import SequenceData, TrainingBatches
from recloom.data.windows import prefixes, whole
from recloom.environment import environment
from recloom.methods.cl4srec import operators
from recloom.nn import packing
from recloom.reproduce import read_data
from recloom.views import two_different

SHARE, BATCHES = 0.2, 60


def any_rows(path: Path) -> float:
    """Packed rows over padded ones, in turns."""
    worth, seconds = packing.WORTH, {}
    for packed in (True, False):
        packing.WORTH = worth if packed else 0.0
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            recloom.train("mclrec", path, out=run, share=SHARE / 4, epochs=3, grouping="random", progress=False)
            seconds[packed] = pl.read_csv(run / "history-0.csv")["train_seconds"][1:].min()
    packing.WORTH = worth
    return seconds[True] / seconds[False]


def ends(states: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    return states[torch.arange(len(items)), (items != 0).sum(1) - 1]


def contrast(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    views = torch.cat([one, two])
    n = len(one)
    logits = (views @ views.t()).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


def margin(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    views, n = torch.cat([one, two]), len(one)
    scores, index = views @ views.t(), torch.arange(2 * n)
    right = scores[index, index.roll(n), None]
    others = torch.ones_like(scores, dtype=torch.bool)
    others[index, index] = others[index, index.roll(n)] = False
    wrong = scores[others].view(2 * n, -1)
    most = wrong.amax(1, keepdim=True)
    return F.relu(right - torch.minimum(right, most)).mean() + F.relu(torch.maximum(right, most) - wrong).mean()


class Plain:
    """A model, its maps and their optimizers, a batch at a time."""

    def __init__(self, data: recloom.Dataset, waste: bool) -> None:
        limit.ATTENTION_DROP = 0.5
        torch.manual_seed(1)
        widths = (64, 32, 16, 64)
        self.waste, self.model, self.seconds = waste, limit.Model(data.n_items), []
        self.maps = [
            nn.Sequential(*[part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.GELU())][:-1])
            for _ in range(2)
        ]
        self.theta = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)
        self.phi = torch.optim.Adam([p for part in self.maps for p in part.parameters()], lr=1e-3, fused=True)
        self.draw = torch.Generator().manual_seed(1)
        self.kinds = operators(data.catalog.mask_id, 0.5, 0.5, 0.8)
        self.dtype = torch.bfloat16 if recloom.objectives.precision.processor_has_bf16() else torch.float32

    def step(self, batch: SequenceBatch) -> None:
        began = time.perf_counter()
        views = two_different(batch.items, self.kinds, self.draw)
        for step in ("theta", "phi", "theta"):
            loss = torch.zeros(())
            if step == "theta" or self.waste:
                states = ends(self.model(batch.items), batch.items)
            if step == "theta":
                table = self.model.items.weight[1:-1]
                loss = limit.Softmax.apply(states, table, batch.last_targets - 1, self.dtype)
            one, two = (ends(self.model(view), view) for view in views)
            first, second = (F.normalize(part(x), dim=1) for part, x in zip(self.maps, (one, two), strict=True))
            pairs = ((one, second), (two, first), (first, second))
            learned = sum(contrast(*pair) + 0.1 * margin(*pair) for pair in pairs)
            (loss + (0.05 if step == "theta" else 1) * learned).backward()
            (self.theta if step == "theta" else self.phi).step()
            self.theta.zero_grad(set_to_none=True)
            self.phi.zero_grad(set_to_none=True)
        self.seconds.append(time.perf_counter() - began)


def median_seconds(made: Iterable[SequenceBatch], step: Callable[[SequenceBatch], object]) -> float:
    spent = []
    for batch, _ in zip(made, range(BATCHES), strict=False):
        began = time.perf_counter()
        step(batch)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def views_of_coserec(data: recloom.Dataset, path: Path) -> float:
    """What both views of a batch cost, as a share of the seconds of a step."""
    with tempfile.TemporaryDirectory() as folder:
        run = recloom.train("coserec", path, out=Path(folder) / "run", epochs=3, progress=False)
        module = SequenceData(data, whole, length=run.method.length)
        made = TrainingBatches(module.items, module.windows)
        views = median_seconds(made, lambda batch: [run.method.views(batch.items) for _ in range(2)])
        return views / (float(run.history["train_seconds"][1:].median()) / len(made))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    data = read_data(arguments.folder.parent, arguments.folder.name)
    module = SequenceData(data, prefixes, length=50, share=SHARE)
    made = TrainingBatches(module.items, module.windows)
    batches = [batch for batch, _ in zip(made, range(BATCHES), strict=False)]
    turns = {"nine_passes": Plain(data, True), "without_waste": Plain(data, False)}
    for number, batch in enumerate(batches):
        for one in list(turns.values())[:: 1 if number % 2 else -1]:  # neither always comes first
            one.step(batch)
    nine, eight = (np.array(one.seconds[5:]) for one in turns.values())
    waste = np.quantile(nine / eight, [0.25, 0.5, 0.75])
    seconds = {name: statistics.median(one.seconds[5:]) for name, one in turns.items()}
    kinds, draw = operators(data.catalog.mask_id, 0.5, 0.5, 0.8), torch.Generator().manual_seed(1)
    views = median_seconds(batches, lambda batch: two_different(batch.items, kinds, draw))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        recloom.prepare(arguments.folder / "interactions.parquet", min_user=0, min_item=0, out=path)
        history, _ = train(path, method="mclrec", share=SHARE, epochs=3)
        packed = any_rows(path)
        of_coserec = views_of_coserec(data, path)
    ours = float(np.median(history["train_seconds"].to_list()[1:])) / len(made)
    found = {
        "data": arguments.folder.name, **environment(),
        "plain_step_seconds": {name: round(value, 4) for name, value in seconds.items()},
        "nine_passes_over_without_waste": {"median": round(waste[1], 3), "quartiles": waste[::2].round(3).tolist()},
        "recloom_step_seconds": round(ours, 4),
        "ratio": {name: round(ours / value, 3) for name, value in seconds.items()},
        "views_share_of_step": {"mclrec": round(views / ours, 4), "coserec": round(of_coserec, 4)},
        "any_rows": round(packed, 3),
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    if arguments.out:
        write_text_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
