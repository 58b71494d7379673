"""MMInfoRec's step: distinct items encoded once a copy, beside every occurrence encoded, and beside Python loops.

    python benchmarks/multi_instance.py FOLDER [FOLDER ...] -o results/benchmarks/multi_instance.json

Each FOLDER holds `interactions.parquet` and attributes. On the first, all train the same model on the same batches of
256 average users, in turns: forward, backward and optimizer step. `every_occurrence` encodes four copies of each item
of each row, and goes on as recloom does with the first of each item; `all_logits` encodes so too and forms all logits
at once, right answers by comparing ids; `nested_loops` finds the right answers as the authors' code does: one step, one
user and one position at a time it looks its target up among all occurrences and marks what it finds, and the marks are
repeated for the copies. `worst_batch_peak_bytes` is, by folder and number of steps predicted, by how much a step of
recloom on 256 users of 50 items and the one after them, as few of them the same as the catalogue allows, raises the
peak memory of its process: the median of three processes, between which the allocator makes a difference of a tenth.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from training import python

from recloom import methods
from recloom.data.batch import SequenceBatch
from recloom.data.catalog import PAD
from recloom.data.files import write_text_atomically
from recloom.data.module import SequenceData, TrainingBatches
from recloom.environment import environment
from recloom.methods.mminforec import MMInfoRec
from recloom.nn.dropout import dropout
from recloom.reproduce import read_data

BATCHES, WARM = 20, 3
USERS, LENGTH = 256, 50
STEPS = (1, 2)
PROCESSES = 3

PEAK = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from multi_instance import worst_batch_peak
print(json.dumps({"bytes": worst_batch_peak(Path(sys.argv[2]), int(sys.argv[3]))}))
"""


def compared(histories: list[Tensor], items: Tensor, method: MMInfoRec) -> Tensor:
    """Which of all occurrences, in every copy, are the right answer of each position."""
    targets = torch.cat([history[1:] for history in histories])
    return (targets[:, None] == items).repeat(1, method.copies)


def looped(histories: list[Tensor], items: Tensor, method: MMInfoRec) -> Tensor:
    """The same by loops over steps, users and positions."""
    masks = []
    for step in range(1, method.steps + 1):
        for history in histories:
            for at in range(len(history) - step):
                mask = torch.zeros(len(items), dtype=torch.bool)
                found = (items == history[at + step]).nonzero()[:, 0]
                mask[found] = True
                masks.append(mask)
    return torch.stack(masks).repeat(1, method.copies)


def occurrences(method: MMInfoRec, batch: SequenceBatch, right_of: Callable[..., Tensor]) -> Tensor:
    whole = batch.whole()
    flat = whole[whole != PAD]
    encoded = method.encode(flat)
    at = torch.zeros_like(whole).masked_scatter(whole != PAD, torch.arange(len(flat)))
    states = method.backbone.encoder(encoded[0][at[:, :-1]] * batch.valid[..., None], batch.valid)
    keys = dropout(encoded, method.key_dropout, True).flatten(0, 1)
    rows, columns = batch.valid.nonzero(as_tuple=True)
    logits = method.memory(states[rows, columns]) @ keys.t() * method.logit_scale
    right = right_of([row[row != PAD] for row in whole], flat, method)
    return (logits.logsumexp(1) - logits.masked_fill(~right, -torch.inf).logsumexp(1)).mean()


def occurrences_encoded(method: MMInfoRec, batch: SequenceBatch) -> Tensor:
    """The step, but for how many encodings are formed of an item."""
    flat = batch.whole().flatten()
    flat = flat[flat != PAD]
    _, place = flat.unique(return_inverse=True)
    first = torch.full((int(place.max()) + 1,), len(flat)).scatter_reduce_(0, place, torch.arange(len(flat)), "amin")
    encode = method.encode
    method.encode = lambda distinct: encode(flat)[:, first]  # type: ignore[method-assign]
    try:
        return method.training_step(batch, 0)
    finally:
        method.encode = encode  # type: ignore[method-assign]


def seconds(
    data: object, batches: list[SequenceBatch], losses: dict[str, Callable[[MMInfoRec, SequenceBatch], Tensor]]
) -> dict[str, float]:
    """Of a batch, each in turn."""
    made = {}
    for name in losses:
        torch.manual_seed(1)
        method = methods.build("mminforec", data.catalog)[0].method  # type: ignore[attr-defined]
        made[name] = method, method.configure_optimizers(), []
    for batch in batches:
        for name, (method, optimizer, spent) in made.items():
            began = time.perf_counter()
            value = losses[name](method, batch)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
            spent.append(time.perf_counter() - began)
    return {name: statistics.median(spent[WARM:]) for name, (_, _, spent) in made.items()}


def worst_batch_peak(folder: Path, steps: int) -> int:
    """Bytes of the largest batch's step; a small one's has filled the caches before."""
    catalog = read_data(folder.parent, folder.name).catalog
    torch.manual_seed(1)
    method = methods.build("mminforec", catalog, steps=steps)[0].method
    optimizer, before = method.configure_optimizers(), 0
    for users in (2, USERS):
        drawn = torch.randperm(users * (LENGTH + 1)).view(users, LENGTH + 1) % catalog.n_items + 1
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        optimizer.zero_grad(set_to_none=True)
        method.training_step(SequenceBatch(torch.arange(users), drawn[:, :-1], drawn[:, 1:]), 0).backward()
        optimizer.step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def peak_of_a_process(folder: Path, steps: int) -> int:
    """`worst_batch_peak` in a process of its own."""
    return int(python("-c", PEAK, str(Path(__file__).parent), str(folder), str(steps))["bytes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    # before anything is read here: a process begins with the peak of the one that starts it
    peaks = {
        folder.name: {
            steps: int(statistics.median(peak_of_a_process(folder, steps) for _ in range(PROCESSES))) for steps in STEPS
        }
        for folder in arguments.folders
    }
    folder = arguments.folders[0]
    data = read_data(folder.parent, folder.name)
    stage = methods.build("mminforec", data.catalog)[0]
    module = SequenceData(data, stage.windows, length=LENGTH)
    made = TrainingBatches(module.items, module.windows, batch_size=USERS)
    batches = [batch for batch, _ in zip(made, range(BATCHES), strict=False)]
    losses = {
        "recloom": lambda method, batch: method.training_step(batch, 0),
        "every_occurrence": occurrences_encoded,
        "all_logits": lambda *both: occurrences(*both, compared),
        "nested_loops": lambda *both: occurrences(*both, looped),
    }
    found = seconds(data, batches, losses)
    report = {
        "data": folder.name, **environment(),
        "occurrences_of_a_distinct_item": round(
            sum(int(batch.whole().count_nonzero()) for batch in batches)
            / sum(len(batch.whole().unique()) - 1 for batch in batches), 2
        ),
        "step_seconds": {name: round(value, 4) for name, value in found.items()},
        "times_as_fast": {name: round(value / found["recloom"], 2) for name, value in found.items()},
        "worst_batch_peak_bytes": peaks,
    }  # fmt: skip
    print(json.dumps(report, indent=1))
    if arguments.out:
        write_text_atomically(arguments.out, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
