"""An epoch of SASRec as recloom trains it beside the fastest other library we know, in one run on one machine.

    python -m venv VENV && VENV/bin/pip install torch==2.13.0 && VENV/bin/pip install 'replay-rec[torch]'
    python benchmarks/peers.py FOLDER --replay VENV/bin/python -o results/benchmarks/peers.json

FOLDER holds `interactions.parquet`. RePlay is timed twice: as installed, and with allocator settings that keep its
large temporary tensors from being given back to the system at every step (on virtual machines first-touch page
faults are dear); recloom runs as installed. RecTools and RecBole were slower in trials and are not timed here.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from training import train

import recloom
from recloom.data.files import write_text_atomically
from recloom.environment import environment

TUNED = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184"


def replay(interpreter: Path, folder: Path, tunables: str | None) -> dict[str, float]:
    """One timing of RePlay in its own process."""
    variables = {**os.environ} | ({"GLIBC_TUNABLES": tunables} if tunables else {})
    command = [str(interpreter), str(Path(__file__).with_name("peer_replay.py")), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--replay", type=Path, required=True, help="interpreter of an environment with replay-rec")
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    found: dict[str, object] = {"data": arguments.folder.name, **environment()}
    found["replay_as_installed"] = installed = replay(arguments.replay, arguments.folder, None)
    found["replay_at_its_best"] = best = replay(arguments.replay, arguments.folder, TUNED)
    print("RePlay", installed, best, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        recloom.prepare(arguments.folder / "interactions.parquet", min_user=0, min_item=0, out=data)
        for precision in ("fp32", "bf16"):
            history, _ = train(data, precision=precision, epochs=5)
            epoch = statistics.median(history["train_seconds"].to_list()[1:])
            found[precision] = {
                "recloom_epoch_seconds": round(epoch, 2),
                "times_faster_than_best": round(best["epoch_seconds"] / epoch, 1),
                "times_faster_than_installed": round(installed["epoch_seconds"] / epoch, 1),
            }
            print(precision, found[precision], flush=True)
    if arguments.out:
        write_text_atomically(arguments.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
