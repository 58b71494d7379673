"""MMInfoRec's step: distinct items encoded once a copy, beside every occurrence encoded, and beside Python loops.

    python benchmarks/multi_instance.py FOLDER -o results/benchmarks/multi_instance.json

FOLDER holds `interactions.parquet` and attributes. All three train the same model on the same batches of 256 average
users, forward, backward and optimizer step. `every_occurrence` encodes four copies of each item of each row and forms
all logits at once, right answers by comparing ids; `nested_loops` finds the right answers as the authors' code does, by
looking up each row's target among all occurrences, one row, one position and one copy at a time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD
from recloom.data.files import write_atomically
from recloom.data.module import SequenceData, TrainingBatches
from recloom.environment import hardware
from recloom.methods.mminforec import MMInfoRec
from recloom.nn.dropout import dropout
from recloom.reproduce import read_data

BATCHES, WARM = 20, 3


def compared(targets: Tensor, items: Tensor, copies: int) -> Tensor:
    """Which of all occurrences, in every copy, are the right answer of each row."""
    return (targets[:, None] == items).repeat(1, copies)


def looped(targets: Tensor, items: Tensor, copies: int) -> Tensor:
    mask = torch.zeros(len(targets), copies * len(items), dtype=torch.bool)
    for row in range(len(targets)):
        for place in (items == targets[row]).nonzero()[:, 0]:
            for copy in range(copies):
                mask[row, copy * len(items) + place] = True
    return mask


def occurrences(method: MMInfoRec, batch: SequenceBatch, right_of: Callable[..., Tensor]) -> Tensor:
    whole = batch.whole()
    flat = whole[whole != PAD]
    encoded = method.encode(flat)
    at = torch.zeros_like(whole).masked_scatter(whole != PAD, torch.arange(len(flat)))
    states = method.backbone.encoder(encoded[0][at[:, :-1]] * batch.valid[..., None], batch.valid)
    keys = dropout(encoded, method.key_dropout, True).flatten(0, 1)
    rows, columns = batch.valid.nonzero(as_tuple=True)
    logits = method.memory(states[rows, columns]) @ keys.t() * method.logit_scale
    right = right_of(whole[rows, columns + 1], flat, method.copies)
    return (logits.logsumexp(1) - logits.masked_fill(~right, -torch.inf).logsumexp(1)).mean()


def seconds(data: object, batches: list[SequenceBatch], loss: Callable[[MMInfoRec, SequenceBatch], Tensor]) -> float:
    """Of a batch."""
    torch.manual_seed(1)
    method = methods.build("mminforec", data.catalog)[0].method  # type: ignore[attr-defined]
    optimizer, spent = method.configure_optimizers(), []
    for batch in batches:
        began = time.perf_counter()
        value = loss(method, batch)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[WARM:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    data = read_data(arguments.folder.parent, arguments.folder.name)
    stage = methods.build("mminforec", data.catalog)[0]
    module = SequenceData(data, stage.windows, length=50)
    made = TrainingBatches(module.items, module.windows, batch_size=256)
    batches = [batch for batch, _ in zip(made, range(BATCHES), strict=False)]
    found = {
        "recloom": seconds(data, batches, lambda method, batch: method.training_step(batch, 0)),
        "every_occurrence": seconds(data, batches, lambda *both: occurrences(*both, compared)),
        "nested_loops": seconds(data, batches[: WARM + 3], lambda *both: occurrences(*both, looped)),
    }
    report = {
        "data": arguments.folder.name, "hardware": hardware(),
        "occurrences_of_a_distinct_item": round(
            sum(int(batch.whole().count_nonzero()) for batch in batches)
            / sum(len(batch.whole().unique()) - 1 for batch in batches), 2
        ),
        "step_seconds": {name: round(value, 4) for name, value in found.items()},
        "times_as_fast": {name: round(value / found["recloom"], 2) for name, value in found.items()},
    }  # fmt: skip
    print(json.dumps(report, indent=1))
    if arguments.out:
        write_atomically(arguments.out, lambda file: file.write_text(json.dumps(report, indent=1) + "\n"))


if __name__ == "__main__":
    main()
