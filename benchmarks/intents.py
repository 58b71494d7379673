"""DSSRec as recloom trains it beside plain PyTorch doing the same work on the same batches, in turns on one machine.

    python benchmarks/intents.py FOLDER -o results/benchmarks/intents.json

FOLDER holds `interactions.parquet`. Rows are the pairs of a past and a future of a fifth of the users, 128 a batch,
drawn freely. The plain version is the paper's equations line by line: one encoder over pasts and over reversed futures,
four intents, both losses, half of the intents trusted. `padded_to_50` is the same with every row as long as the longest
that is allowed, as the re-implementations have it. Every turn times all three one after another, recloom by epochs of
its trainer; a step is the mean over batches, of the better turn.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from training import train

import recloom
from recloom.data.batch import SequenceBatch
from recloom.data.files import write_text_atomically
from recloom.data.module import SequenceData, TrainingBatches
from recloom.data.windows import past_and_future
from recloom.environment import environment
from recloom.methods.dssrec import reverse, split
from recloom.reproduce import read_data

SHARE, BATCHES, WARM, TURNS = 0.2, 60, 5, 2
DIM, LAYERS, LENGTH, DROP, INTENTS, TRUSTED = 64, 2, 50, 0.5, 4, 0.5


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(DIM, DIM) for _ in range(4))
        self.up, self.down = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.one, self.two = nn.LayerNorm(DIM, 1e-8), nn.LayerNorm(DIM, 1e-8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        asking = self.one(x)
        q, k, v = self.query(asking)[:, None], self.key(x)[:, None], self.value(x)[:, None]
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=DROP)[:, 0]
        x = self.two(asking + self.out(mixed))
        return x + F.dropout(self.down(F.dropout(F.relu(self.up(x)), DROP)), DROP)


class Model(nn.Module):
    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.items, self.places = nn.Embedding(n_items + 1, DIM), nn.Embedding(LENGTH, DIM)
        self.layers, self.norm = nn.Sequential(*(Layer() for _ in range(LAYERS))), nn.LayerNorm(DIM, 1e-8)
        self.prototypes = nn.Parameter(torch.randn(INTENTS, DIM) / DIM**0.5)
        self.biases = nn.Parameter(torch.randn(2, INTENTS, DIM) / DIM**0.5)
        self.alpha, self.query_bias = nn.Parameter(torch.randn(LENGTH, DIM) * 0.02), nn.Parameter(torch.zeros(DIM))
        self.widen, self.norms = nn.Linear(DIM, DIM), nn.ModuleList(nn.LayerNorm(DIM) for _ in range(5))
        for part in self.modules():
            if isinstance(part, (nn.Linear, nn.Embedding)):
                nn.init.normal_(part.weight, 0, 0.02)

    def forward(self, items: torch.Tensor, side: int) -> torch.Tensor:
        valid, width = items != 0, items.shape[1]
        at = (LENGTH - valid.sum(1, keepdim=True) + torch.arange(width)).clamp(max=LENGTH - 1)
        x = F.dropout(self.items(items) * DIM**0.5 + self.places(at), DROP)
        states = self.norm(self.layers(x))
        belongs = (self.norms[0](states) @ self.norms[1](self.prototypes).t() / DIM**0.5).softmax(-1)
        placed = states + self.alpha[at]
        keys = self.norms[2](placed)
        keys = keys + F.relu(self.widen(keys))
        last = placed[torch.arange(len(items)), valid.sum(1) - 1]
        asked = (keys * self.norms[3](last + self.query_bias)[:, None]).sum(-1) / DIM**0.5
        weights = asked.masked_fill(~valid, -torch.inf).softmax(1)
        return self.norms[4](self.biases[side] + torch.einsum("bl,blk,bld->bkd", weights, belongs, states))


def plain(n_items: int, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Seconds of a batch."""
    torch.manual_seed(1)
    model, began = Model(n_items), 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for number, (past, future) in enumerate(batches):
        if number == WARM:
            began = time.perf_counter()
        mine, theirs = model(past, 0), model(reverse(future), 1)
        scores = torch.einsum("jkd,nd->jnk", mine, model.items(future[:, 0])) / DIM**0.5
        right = scores.diagonal(dim1=0, dim2=1).amax(0)
        loss = (scores.flatten(1).logsumexp(1) - right).mean()
        each = F.cross_entropy(
            mine.flatten(0, 1) @ theirs.flatten(0, 1).t() / DIM**0.5,
            torch.arange(len(past) * INTENTS),
            reduction="none",
        )
        loss = loss + each.sort().values[: math.ceil(TRUSTED * len(each))].sum() / len(past)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - began) / (len(batches) - WARM)


def padded(batch: SequenceBatch) -> tuple[torch.Tensor, torch.Tensor]:
    past, future = split(batch, LENGTH)
    return F.pad(past, (0, LENGTH - past.shape[1])), F.pad(future, (0, LENGTH - future.shape[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    data = read_data(arguments.folder.parent, arguments.folder.name)
    module = SequenceData(data, past_and_future, length=LENGTH, share=SHARE)
    made = TrainingBatches(module.items, module.windows, batch_size=128, grouping="random")
    batches = [batch for batch, _ in zip(made, range(BATCHES), strict=False)]
    rows = {"same_rows": [split(batch, LENGTH) for batch in batches], "padded_to_50": [padded(one) for one in batches]}
    turns: dict[str, list[float]] = {"same_rows": [], "padded_to_50": [], "recloom": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        recloom.prepare(arguments.folder / "interactions.parquet", min_user=0, min_item=0, out=path)
        for _ in range(TURNS):
            for name, pairs in rows.items():
                turns[name].append(plain(data.n_items, pairs))
            history, _ = train(path, method="dssrec", share=SHARE, epochs=3, attention_dropout=DROP)
            turns["recloom"].append(float(np.mean(history["train_seconds"].to_list()[1:])) / len(made))
    ours, *seconds = (min(turns[name]) for name in ("recloom", *rows))
    found = {
        "data": arguments.folder.name, **environment(), "batches_of_an_epoch": len(made),
        "plain_step_seconds": {name: round(value, 4) for name, value in zip(rows, seconds, strict=True)},
        "recloom_step_seconds": round(ours, 4),
        "ratio": {name: round(ours / value, 3) for name, value in zip(rows, seconds, strict=True)},
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    if arguments.out:
        write_text_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
