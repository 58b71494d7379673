"""The demonstration runs to its end without a network, on the simulated shop."""

import os
import subprocess
import sys
from pathlib import Path

import recloom

ROOT = Path(__file__).parents[2]


def test_demo(tmp_path):
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), "--data", "simulated", "--epochs", "1"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    board = [line.split()[0] for line in done.stdout.splitlines() if "[0." in line]
    assert board == ["pop", "repeat-recent", "sasrec"]
    assert done.stdout.count("Recommended next") == 3 and done.stdout.count("  > ") == 15
    assert recloom.load(tmp_path / "demo" / "sasrec").recipe["data"]["path"] == str(
        (tmp_path / "demo" / "data").resolve()
    )
