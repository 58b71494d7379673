"""Which stages a training runs, and the run it starts from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from recloom.data.catalog import Catalog
from recloom.errors import InputError
from recloom.training import Stage

if TYPE_CHECKING:
    from recloom.run import Run


def chosen_stages(stages: list[Stage], stage: str | None, first: int) -> tuple[list[Stage], int]:
    """The stages to train, and the place of the first of them in the whole list."""
    if stage is None:
        return stages[first:], first
    names = [found.name for found in stages]
    if stage not in names[first:]:
        raise InputError(f"stage {stage!r} is not to be trained here; the stages are {', '.join(names[first:])}")
    place = names.index(stage)
    return stages[place : place + 1], place


def start_from(begun: Run, method: str, stages: list[Stage], catalog: Catalog) -> int:
    """Give the backbone of a run to the first stage; return the place of the first stage still to be trained."""
    if begun.catalog.fingerprint() != catalog.fingerprint():
        raise InputError(f"start: {begun.path} knows other items than this data; start from a run on the same data")
    given, wanted = (getattr(found, "backbone", None) for found in (begun.method, stages[0].method))
    if given is None or wanted is None:
        lacking = begun.recipe["method"] if given is None else method
        raise InputError(f"start: {lacking} has no backbone that could be handed on")
    try:
        wanted.load_state_dict(given.state_dict())
    except RuntimeError as error:
        raise InputError(f"start: the backbone of {begun.path} is not that of {method}: {error}") from error
    names, done = [found.name for found in stages], begun.recipe["training"].get("stage")
    if begun.recipe["method"] != method or done not in names[:-1]:
        return 0
    place = names.index(done)
    stages[place].method.load_state_dict(begun.method.state_dict())  # what later stages share besides the backbone
    return place + 1


def origin(begun: Run) -> dict[str, Any]:
    """What a recipe says of the run its training started from."""
    weights = begun.path / "model.safetensors"
    kept = {key: begun.recipe[key] for key in ("method", "numbers", "training")}
    return {**kept, "weights": hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}
