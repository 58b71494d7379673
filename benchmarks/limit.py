"""How fast can this model train here? SASRec in plain PyTorch, one loop, nothing general: the yardstick for recloom.

    python benchmarks/limit.py FOLDER --precision fp32

FOLDER holds `interactions.parquet` (user_id, item_id, sorted). The shape is that of the published tables: 64 wide, 2
layers, 2 heads, feed-forward of 256, length 50, dropout .5, softmax over all items at every position, Adam at 1e-3,
as many targets a batch as 256 average users hold. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import nn

DIM, HEADS, LAYERS, LENGTH, WIDE, DROP, USERS = 64, 2, 2, 50, 256, 0.5, 256
CHUNK = 256
kept: dict[tuple[str, torch.dtype], torch.Tensor] = {}


def memory(name: str, rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    block = kept.get((name, dtype))
    if block is None or len(block) < rows:
        block = kept[name, dtype] = torch.empty(rows, columns, dtype=dtype)
    return block[:rows]


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, states, table, targets, dtype):
        low, items = states.detach().to(dtype), table.detach().to(dtype)
        by_state = torch.empty_like(low)
        by_item = torch.zeros(table.shape)
        loss = 0.0
        for begin in range(0, len(low), CHUNK):
            rows, target = low[begin : begin + CHUNK], targets[begin : begin + CHUNK, None]
            logits = torch.mm(rows, items.t(), out=memory("logits", len(rows), len(items), dtype))
            chances = torch.softmax(logits, 1, out=memory("chances", len(rows), len(items), dtype))
            right = chances.gather(1, target)
            loss -= right.float().clamp_min(1e-30).log().sum()
            chances[torch.arange(len(rows)), target[:, 0]] = right[:, 0] - 1  # scatter_ copies all of it in bf16
            torch.mm(chances, items, out=by_state[begin : begin + CHUNK])
            if dtype is torch.float32:
                by_item.addmm_(chances.t(), rows)
            else:
                by_item += chances.t() @ rows
        ctx.save_for_backward(by_state.float() / len(low), by_item / len(low))
        return loss / len(low)

    @staticmethod
    def backward(ctx, grad):
        by_state, by_item = ctx.saved_tensors
        return by_state * grad, by_item * grad, None, None


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.up, self.down = nn.Linear(DIM, WIDE), nn.Linear(WIDE, DIM)
        self.one, self.two = nn.LayerNorm(DIM, 1e-12), nn.LayerNorm(DIM, 1e-12)

    def forward(self, x):
        rows, length, _ = x.shape
        q, k, v = self.into(x).view(rows, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=ATTENTION_DROP)
        x = self.one(x + F.dropout(self.out(y.transpose(1, 2).reshape(rows, length, DIM)), DROP))
        return self.two(x + F.dropout(self.down(F.gelu(self.up(x))), DROP))


class Model(nn.Module):
    def __init__(self, n_items):
        super().__init__()
        self.items, self.places = nn.Embedding(n_items + 2, DIM), nn.Embedding(LENGTH, DIM)
        self.norm, self.layers = nn.LayerNorm(DIM, 1e-12), nn.Sequential(*(Layer() for _ in range(LAYERS)))
        for part in self.modules():
            if isinstance(part, (nn.Linear, nn.Embedding)):
                nn.init.normal_(part.weight, 0, 0.02)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)

    def forward(self, x):
        return self.layers(F.dropout(self.norm(self.items(x) + self.places.weight[: x.shape[1]]), DROP))


def batches(flat, start, stop, draw):
    """Like lengths together, equal targets a batch; inputs start..stop-1, targets one later."""
    n = stop - start - 1
    order, chunk = draw.permutation(len(n)), 16 * USERS
    parts = [order[i : i + chunk] for i in range(0, len(order), chunk)]
    order = np.concatenate([p[np.argsort(n[p] * (1 - 2 * (k % 2)), kind="stable")] for k, p in enumerate(parts)])
    per_batch = round(USERS * n.mean())
    cut = np.split(order, np.searchsorted(np.cumsum(n[order]), np.arange(per_batch, n.sum(), per_batch)))
    for k in draw.permutation(len(cut)):
        rows = cut[k]
        at = start[rows, None] + np.arange(n[rows].max())
        real = at < stop[rows, None] - 1
        at = np.where(real, at, 0)
        inputs = np.where(real, flat[at], 0)
        yield torch.from_numpy(inputs), torch.from_numpy(np.flatnonzero(real)), torch.from_numpy(flat[at + 1][real])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--epochs", type=int, default=4, help="the first warms up and is left out")
    parser.add_argument("--attention-dropout", type=float, default=0.5)
    arguments = parser.parse_args()
    global ATTENTION_DROP
    ATTENTION_DROP = arguments.attention_dropout
    torch.manual_seed(1)
    draw, dtype = np.random.default_rng(1), torch.float32 if arguments.precision == "fp32" else torch.bfloat16
    log = pl.read_parquet(arguments.folder / "interactions.parquet", columns=["user_id", "item_id"])
    flat = log["item_id"].to_numpy().astype(np.int64)
    lengths = log.group_by("user_id", maintain_order=True).len()["len"].to_numpy().astype(np.int64)
    stop = np.cumsum(lengths) - 2
    start = np.maximum(np.cumsum(lengths) - lengths, stop - 1 - LENGTH)
    model = Model(int(flat.max()))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    seconds, targets = [], 0
    for _ in range(arguments.epochs):
        began, targets = time.perf_counter(), 0
        for inputs, real, asked in batches(flat, start, stop, draw):
            states = model(inputs).view(-1, DIM)[real]
            loss = Softmax.apply(states, model.items.weight[1:-1], asked - 1, dtype)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            targets += len(asked)
        seconds.append(time.perf_counter() - began)
    epoch = statistics.median(seconds[1:])
    print(json.dumps({"precision": arguments.precision, "epoch_seconds": round(epoch, 3), "targets": targets}))


if __name__ == "__main__":
    main()
