"""The main job on real data: a log, a trained model, a leaderboard, recommendations by title. `make demo` runs it.

    python examples/demo.py [--data ml-100k|simulated] [--out .demo]

It leaves prepared data and a run below `--out`, for the commands it names at the end.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import recloom
from recloom.data.public import DataUnavailable, PublicFrames, get

NUMBERS: dict[str, Any] = {
    "length": 50,
    "windows": "sliding",
    "step": 50,
    "dropout": 0.2,
    "lr": 2e-3,
    "batch_size": 32,
    "epochs": 50,
    "patience": 5,
}
METRICS = ("HR@10", "NDCG@10", "coverage@10")


def fetch(name: str) -> tuple[str, PublicFrames]:
    """The data asked for; the simulated shop where no source can be reached."""
    try:
        return name, get(name, progress=print)
    except DataUnavailable as error:
        print(f"{error}\n\nGoing on with a simulated shop instead.")
        return "simulated", get("simulated")


def leaderboard(runs: list[recloom.Run]) -> None:
    """Test values of every run with 95 % intervals over users."""
    print(f"  {'':14}" + "".join(f"{name:^26}" for name in METRICS))
    for run in runs:
        evaluation = run.evaluate("full-mask", (10,))
        values, intervals = evaluation.metrics(), evaluation.intervals()
        cells = [f"{values[name]:.4f}" for name in METRICS]
        for place, name in enumerate(METRICS):
            if name in intervals:
                low, high = intervals[name]
                cells[place] += f"  [{low:.4f}, {high:.4f}]"
        print(f"  {run.recipe['method']:14}" + "".join(f"{cell:^26}" for cell in cells))


def show_users(run: recloom.Run, data: recloom.Dataset, count: int = 3) -> list[Any]:
    """Some users' latest items and what is recommended next; returns their ids."""
    offsets, items, title = data.sequences.offsets, data.sequences.items, data.catalog.title
    users = data.user_ids[:: data.n_users // count][:count].tolist()
    for user in users:
        row = data.user_index(user)
        history = items[offsets[row] : offsets[row + 1]]
        found = run.recommend(users=[user], k=5)
        print(f"\n  User {user}, {len(history)} actions, the last of them:")
        for item in history[-5:]:
            print(f"    {title(int(item))}")
        print("  Recommended next:")
        for item in data.catalog.encode(found.frame["item_id"].to_list()):
            print(f"  > {title(int(item))}")
    return users


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml-100k", choices=("ml-100k", "simulated"))
    parser.add_argument("--out", type=Path, default=Path(".demo"))
    parser.add_argument("--epochs", type=int, default=NUMBERS["epochs"])
    chosen = parser.parse_args()
    began = time.perf_counter()

    print("1. Data")
    name, public = fetch(chosen.data)
    print(f"   {name} from {public.source}. {public.terms}")
    data = recloom.prepare(public.log, items=public.items, out=chosen.out / "data")
    facts = data.describe()
    print(f"   {facts['users']:,} users, {facts['items']:,} items, {facts['actions']:,} actions.")

    print("\n2. Training SASRec; the epoch with the best validation NDCG@10 is kept")
    shutil.rmtree(chosen.out / "sasrec", ignore_errors=True)
    sasrec = recloom.train("sasrec", data, out=chosen.out / "sasrec", **{**NUMBERS, "epochs": chosen.epochs})
    print(f"   {sasrec.history.height} epochs in {sasrec.history['train_seconds'].sum():.0f} s.")

    print("\n3. Leaderboard: the last item of every user, ranked among all items not in the history [95 % interval]\n")
    leaderboard([recloom.train("pop", data), recloom.train("repeat-recent", data), sasrec])
    if not facts["repeats"]["users"]:
        print("\n  Nobody here takes an item twice, so repeating the latest ones finds nothing.")

    print("\n4. What next?")
    users = show_users(sasrec, data)
    print(f"\nDone in {time.perf_counter() - began:.0f} s. Try next:\n")
    print(f"  .venv/bin/recloom recommend {chosen.out / 'sasrec'} --user {users[0]} -k 10")
    print(f"  .venv/bin/recloom similar {chosen.out / 'sasrec'} {data.catalog.decode([1])[0]}")
    print(f"  .venv/bin/recloom compare {chosen.out / 'data'} --methods pop,sasrec --seeds 2 --epochs 10")


if __name__ == "__main__":
    main()
