"""What a result was measured with: versions, processor, device, and the commit of the code."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recloom.run_recipe import without_none

PACKAGES = ("torch", "lightning", "numpy", "polars", "narwhals", "pyarrow", "faiss-cpu")
SOURCES = ("recloom", "recipes", "pyproject.toml", "constraints.txt")
"""The files of the repository that can change a result."""


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str | None]:
    """Installed versions by package; None where one is absent."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores this process may use, threads of torch, bf16 units, CUDA device (None without one)."""
    import torch

    from recloom.objectives.precision import processor_has_bf16

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bf16_units": processor_has_bf16(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    number = f" (family {found['cpu family']}, model {found['model']})" if "cpu family" in found else ""
    return found.get("model name", platform.machine()) + number


def environment(before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the recipe of a run says of where it was trained; nothing of what is not known.

    Args:
        before: the same of an unfinished run that is continued, whose commits stay.

    Returns:
        `commits` (of all processes that trained the run; a star behind one: files differed from it), `hardware` and
        `versions`.
    """
    code = code_version()
    own = [] if code["commit"] is None else [code["commit"] + ("*" if code["dirty"] else "")]
    commits = list(dict.fromkeys([*(before or {}).get("commits", []), *own]))
    known = {"hardware": without_none(hardware()), "versions": without_none(versions())}
    return ({"commits": commits} if commits else {}) | known


@cache
def code_version() -> dict[str, Any]:
    """The commit the running code belongs to, and whether a file that can change a result differs from it.

    Both are None where the code is not inside its own git repository. Looked up once, as early as a process can: the
    code that runs is that of its start, whatever is committed while it trains.
    """
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "recloom/__init__.py") is None:
        return {"commit": None, "dirty": None}
    changed = git("status", "--porcelain", "--", *(name for name in SOURCES if (root / name).exists()))
    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
