"""S3-Rec's pre-training step in plain PyTorch, written for speed, one loop: the yardstick for recloom's.

    python benchmarks/limit_pretraining.py FOLDER

FOLDER holds `interactions.parquet` and `items.parquet`. Four encoder passes over the same batches of like length that
recloom forms from whole histories, the authors' losses, attributes only at real positions, as one product with a
precomputed table of labels. The shape is that of the paper: 64 wide, 2 layers, 2 heads, feed-forward of 256, dropout
.5, Adam at 1e-3, 100 average rows a batch. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from recloom.data.module import SequenceData, TrainingBatches
from recloom.data.windows import whole
from recloom.reproduce import read_data

DIM, HEADS, LAYERS, LENGTH, WIDE, DROP, ROWS = 64, 2, 2, 50, 256, 0.5, 100


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.up, self.down = nn.Linear(DIM, WIDE), nn.Linear(WIDE, DIM)
        self.one, self.two = nn.LayerNorm(DIM, 1e-12), nn.LayerNorm(DIM, 1e-12)

    def forward(self, x, mask):
        rows, length, _ = x.shape
        q, k, v = self.into(x).view(rows, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=DROP)
        x = self.one(x + F.dropout(self.out(y.transpose(1, 2).reshape(rows, length, DIM)), DROP))
        return self.two(x + F.dropout(self.down(F.gelu(self.up(x))), DROP))


class Model(nn.Module):
    def __init__(self, n_items, n_attributes):
        super().__init__()
        self.items, self.places = nn.Embedding(n_items + 2, DIM), nn.Embedding(LENGTH, DIM)
        self.attributes = nn.Embedding(n_attributes + 1, DIM)
        self.norm, self.layers = nn.LayerNorm(DIM, 1e-12), nn.ModuleList(Layer() for _ in range(LAYERS))
        self.aap, self.mip, self.map, self.sp = (nn.Linear(DIM, DIM) for _ in range(4))
        for part in self.modules():
            if isinstance(part, (nn.Linear, nn.Embedding)):
                nn.init.normal_(part.weight, 0, 0.02)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)

    def forward(self, x):
        mask = (x != 0)[:, None, None]
        y = F.dropout(self.norm(self.items(x) + self.places.weight[: x.shape[1]]), DROP)
        for layer in self.layers:
            y = layer(y, mask)
        return y


def loss_of(model, items, labels, flat):
    """The four terms of one batch, as the authors' code weighs them."""
    n, mask_id = items.shape[0], model.items.num_embeddings - 1
    real, lengths, row = items != 0, (items != 0).sum(1), torch.arange(n)
    hidden = (torch.rand(items.shape) < 0.2) & real
    hidden[row, lengths - 1] = True
    size = 1 + (torch.rand(n) * (lengths // 2)).long()
    begin = (torch.rand(n) * (lengths - size + 1)).long()
    at = torch.arange(items.shape[1])
    inside = (at >= begin[:, None]) & (at < (begin + size)[:, None])
    foreign = flat[
        ((torch.rand(n) * (len(flat) - LENGTH)).long()[:, None] + at - begin[:, None]).clamp(0, len(flat) - 1)
    ]
    segment = items.masked_fill(real & ~inside, mask_id)
    views = [items.masked_fill(hidden, mask_id), items.masked_fill(inside, mask_id), segment]
    views.append(torch.where(inside, foreign, segment))
    states, *others = (model(view) for view in views)
    total = 0.0
    for linear, where, weight in ((model.aap, real & ~hidden, 0.2), (model.map, hidden, 1.0)):
        logits = linear(states[where]) @ model.attributes.weight.t()
        total += weight * F.binary_cross_entropy_with_logits(logits, labels[items[where]], reduction="sum")
    asked, wrong = model.mip(states[hidden]), torch.randint(1, mask_id, (int(hidden.sum()),))
    good, bad = ((asked * model.items(x)).sum(-1).sigmoid() for x in (items[hidden], wrong))
    total += F.softplus(bad - good).sum()
    context, right, other = (state[row, lengths - 1] for state in others)
    asked = model.sp(context)
    total += 0.5 * F.softplus((asked * other).sum(-1).sigmoid() - (asked * right).sum(-1).sigmoid()).sum()
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=3, help="the first warms up and is left out")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    data = read_data(arguments.folder.parent, arguments.folder.name)
    windows = SequenceData(data, whole, length=LENGTH - 1).windows
    batches = TrainingBatches(data.sequences.items, windows, batch_size=ROWS, counted="items")
    catalog = data.catalog
    labels = torch.zeros(catalog.n_rows, catalog.n_attributes + 1)
    rows = torch.repeat_interleave(torch.arange(catalog.n_rows), torch.from_numpy(catalog.attribute_offsets).diff())
    labels[rows, torch.from_numpy(catalog.attribute_values).long()] = 1
    flat = torch.from_numpy(data.sequences.items.astype("int64"))
    model = Model(catalog.n_items, catalog.n_attributes)
    optimizer, seconds = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True), []
    for batches.epoch in range(arguments.epochs):
        began = time.perf_counter()
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            loss_of(model, batch.whole(), labels, flat).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - began)
    items = int(windows.lengths.sum() + len(windows))
    print(
        json.dumps({"epoch_seconds": round(statistics.median(seconds[1:]), 3), "items": items, "steps": len(batches)})
    )


if __name__ == "__main__":
    main()
