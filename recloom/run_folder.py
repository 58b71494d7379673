"""The folder of a run: what lies in it, and what a training that begins or fails there leaves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w

from recloom.data.catalog import Catalog
from recloom.data.files import others_in, write_text_atomically
from recloom.environment import environment
from recloom.errors import InputError
from recloom.run_recipe import read_recipe, require_same

WORK, WEIGHTS = "training", "model.safetensors"
BEGINNING = ("recipe.toml", "catalog.json", "catalog.parquet")
"""What a run's folder holds before it is trained."""


def holds_something_else(path: Path) -> bool:
    """Whether a file is in the way, or a folder with files or folders that are none of a run's."""
    return path.is_file() or bool(others_in(path, (*BEGINNING, WEIGHTS, WORK, "history-*.csv")))


@contextmanager
def begun(path: Path, recipe: dict[str, Any], catalog: Catalog) -> Iterator[None]:
    """A folder in which a training begins or goes on, with its recipe, which gets the environment, and its catalogue.

    If the training fails in the folder it began, before there is a checkpoint to go on from, nothing stays behind.

    Raises:
        InputError: the folder holds something else, or a run of another recipe.
    """
    if path.is_file():
        raise InputError(f"{path} is a file; give a folder for the run")
    made = not path.exists()
    begins = made or all(file.name.startswith(".recipe.toml-") for file in path.iterdir())
    if not begins:
        require_same(path, recipe)
    recipe["environment"] = environment(None if begins else read_recipe(path).get("environment"))
    write_text_atomically(path / "recipe.toml", tomli_w.dumps(recipe))
    catalog.save(path)
    try:
        yield
    except Exception:
        if begins and not any((path / WORK).glob("*/*.ckpt")):
            shutil.rmtree(path / WORK, ignore_errors=True)
            for name in BEGINNING:
                (path / name).unlink(missing_ok=True)
            if made:
                path.rmdir()
        raise
