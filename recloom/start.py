"""Which stages a training runs, and the run it starts from."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from torch import nn

from recloom import methods
from recloom.data.catalog import Catalog
from recloom.errors import InputError
from recloom.objectives import NextItem
from recloom.training import Stage, WindowsSchedule

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


def start_from(begun: Run, method: str, numbers: dict[str, Any], stages: list[Stage], catalog: Catalog) -> int:
    """Give the backbone of a run to the first stage; return the place of the first stage still to be trained.

    Args:
        begun: the run that training starts from.
        method, numbers, stages: what is trained, with the arguments given for it.
        catalog: the items of the data.

    Raises:
        InputError: other items or attributes, no backbone on one side, or backbones of other shapes.
    """
    if begun.catalog.item_ids.tolist() != catalog.item_ids.tolist():
        raise InputError(f"start: {begun.path} knows other items than this data; start from a run on the same data")
    if begun.catalog.fingerprint() != catalog.fingerprint():
        raise InputError(
            f"start: {begun.path} knows the same items as this data, but with other attributes: "
            f"{begun.catalog.n_attributes:,} there, {catalog.n_attributes:,} here; start from a run on the same data"
        )
    given, wanted = (getattr(found, "backbone", None) for found in (begun.method, stages[0].method))
    if given is None or wanted is None:
        lacking = begun.recipe["method"] if given is None else method
        raise InputError(f"start: {lacking} has no backbone that could be handed on")
    _require_fit(begun, method, numbers, given, wanted, "the backbone")
    wanted.load_state_dict(given.state_dict())
    names, done = [found.name for found in stages], begun.recipe["training"].get("stage")
    if begun.recipe["method"] != method or done not in names[:-1]:
        return 0
    place = names.index(done)
    _require_fit(begun, method, numbers, begun.method, stages[place].method, f"stage {done}")
    stages[place].method.load_state_dict(begun.method.state_dict())  # what later stages share besides the backbone
    return place + 1


def _require_fit(
    begun: Run, method: str, numbers: dict[str, Any], given: nn.Module, wanted: nn.Module, part: str
) -> None:
    """An error that says what to change, where weights of a run do not fit."""
    misfit = _misfit(given, wanted)
    if not misfit:
        return
    unlike, other = ", ".join(_unlike(begun, method, numbers)), begun.recipe["method"]
    advice = f" ({unlike}); give the same arguments, or start from another run" if unlike else ""
    encoders = [type(getattr(found, "encoder", None)) for found in (given, wanted)]
    if encoders[0] is not encoders[1] and "model" in methods.arguments(other):
        advice = f"; {other} hands over to other methods itself: `recloom train {other} ... model={method}`"
    raise InputError(f"start: {part} of {begun.path} is not that of {method}: {misfit}{advice}")


def _misfit(given: nn.Module, wanted: nn.Module) -> str | None:
    """The first weight that two modules do not share by name and shape, in words."""
    there, here = ({name: list(weight.shape) for name, weight in each.state_dict().items()} for each in (given, wanted))
    for name in {**there, **here}:
        if there.get(name) != here.get(name):
            return f"{name} has the shape {there.get(name, 'none')} there and {here.get(name, 'none')} here"
    return None


def _unlike(begun: Run, method: str, numbers: dict[str, Any]) -> list[str]:
    """Arguments of both methods that differ, but for those of losses and training."""
    there = methods.with_defaults(begun.recipe["method"], begun.recipe["numbers"])
    here = methods.with_defaults(method, numbers)
    passed_over = {field.name for field in fields(WindowsSchedule)} | set(inspect.signature(NextItem).parameters)
    return [
        f"{name} is {there[name]!r} there and {value!r} here"
        for name, value in here.items()
        if name in there and there[name] != value and name not in passed_over and not name.startswith("pretrain_")
    ]


def origin(begun: Run) -> dict[str, Any]:
    """What a recipe says of the run its training started from."""
    weights = begun.path / "model.safetensors"
    kept = {key: begun.recipe[key] for key in ("method", "numbers", "training")}
    return {**kept, "weights": hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}
