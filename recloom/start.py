"""Which stages a training runs, and the run it starts from."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from recloom import methods
from recloom.data.catalog import PAD, Catalog
from recloom.errors import InputError
from recloom.items import AttributeEmbedding, IdEmbedding
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

    Items and attributes keep their vectors by id and name; those the run did not know begin anew.

    Args:
        begun: the run that training starts from.
        method, numbers, stages: what is trained, with the arguments given for it.
        catalog: the items of the data.

    Raises:
        InputError: no backbone on one side, backbones of other shapes, or an early stage on other items or attributes.
    """
    given, wanted = (getattr(found, "backbone", None) for found in (begun.method, stages[0].method))
    if given is None or wanted is None:
        lacking = begun.recipe["method"] if given is None else method
        raise InputError(f"start: {lacking} has no backbone that could be handed on")
    names, done = [found.name for found in stages], begun.recipe["training"].get("stage")
    goes_on = begun.recipe["method"] == method and done in names[:-1]
    if begun.catalog.fingerprint() == catalog.fingerprint():
        weights = given.state_dict()
    elif goes_on:
        raise InputError(
            f"start: {begun.path} is the stage {done!r} of {method} on other items or attributes than those "
            "of this data; train that stage on this data too"
        )
    else:
        weights = _carried_over(given, wanted, begun.catalog, catalog)
    _require_fit(begun, method, numbers, given, wanted, "the backbone", weights)
    wanted.load_state_dict(weights)
    if not goes_on:
        return 0
    place = names.index(done)
    before = begun.method.state_dict()
    _require_fit(begun, method, numbers, begun.method, stages[place].method, f"stage {done}", before)
    stages[place].method.load_state_dict(before)  # what later stages share besides the backbone
    return place + 1


def _carried_over(given: nn.Module, wanted: nn.Module, before: Catalog, now: Catalog) -> dict[str, Tensor]:
    """The weights of a backbone, the rows of its tables where its items and attributes stand now."""
    ids, names = before.encode(now.item_ids.tolist()), {name: n for n, name in enumerate(before.attribute_names, 1)}
    items = np.concatenate([[PAD], np.where(ids == PAD, -1, ids), [before.mask_id]])
    attributes = np.array([0, *(names.get(name, -1) for name in now.attribute_names)])
    weights = dict(given.state_dict())
    for name, table in wanted.named_modules():
        old = weights.get(f"{name}.weight")
        if not isinstance(table, (IdEmbedding, AttributeEmbedding)) or old is None or old.shape[1] != table.dim:
            continue
        rows, found = items if isinstance(table, IdEmbedding) else attributes, table.weight.detach().clone()
        found[rows >= 0] = old[rows[rows >= 0]].to(found.device)
        weights[f"{name}.weight"] = found
    return weights


def _require_fit(
    begun: Run,
    method: str,
    numbers: dict[str, Any],
    given: nn.Module,
    wanted: nn.Module,
    part: str,
    weights: Mapping[str, Tensor],
) -> None:
    """An error that says what to change, where the weights of a run do not fit."""
    misfit = _misfit(weights, wanted.state_dict())
    if not misfit:
        return
    unlike, other = _unlike(begun, method, numbers), begun.recipe["method"]
    encoders = [getattr(found, "encoder", None) for found in (given, wanted)]
    there, here = (getattr(encoder, "length", None) for encoder in encoders)
    if not unlike and there != here:  # where it follows from the data
        unlike = [f"length is {there} there and {here} here"]
    advice = f" ({', '.join(unlike)}); give the same arguments, or start from another run" if unlike else ""
    if type(encoders[0]) is not type(encoders[1]) and "model" in methods.arguments(other):
        advice = f"; {other} hands over to other methods itself: `recloom train {other} ... model={method}`"
    raise InputError(f"start: {part} of {begun.path} is not that of {method}: {misfit}{advice}")


def _misfit(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """The first weight that two modules do not share by name and shape, in words."""
    there, here = ({name: list(weight.shape) for name, weight in each.items()} for each in (given, wanted))
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
