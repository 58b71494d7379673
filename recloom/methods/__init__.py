"""One paper a file. To add a method, write its file and one line in `METHODS`."""

from __future__ import annotations

import difflib
import inspect
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recloom.data.catalog import Catalog
from recloom.errors import InputError
from recloom.methods import (
    autoint,
    bert4rec,
    bpr_mf,
    caser,
    cl4srec,
    coserec,
    dssrec,
    duorec,
    fdsa,
    fm,
    fpmc,
    gru4rec,
    gru4rec_f,
    gru4rec_plus,
    hgn,
    iclrec,
    lma4rec,
    loom,
    mclrec,
    mminforec,
    ncf,
    pop,
    repeat_recent,
    s3rec,
    s3rec_mip,
    sasrec,
    sasrec_f,
    srma,
)
from recloom.methods.composition import preset_of
from recloom.training import Stage

METHODS: dict[str, Callable[..., list[Stage]]] = {
    "pop": pop.build,
    "repeat-recent": repeat_recent.build,
    "bpr-mf": bpr_mf.build,
    "fm": fm.build,
    "autoint": autoint.build,
    "ncf": ncf.build,
    "fpmc": fpmc.build,
    "gru4rec": gru4rec.build,
    "gru4rec+": gru4rec_plus.build,
    "gru4rec-f": gru4rec_f.build,
    "caser": caser.build,
    "hgn": hgn.build,
    "sasrec": sasrec.build,
    "sasrec-f": sasrec_f.build,
    "bert4rec": bert4rec.build,
    "fdsa": fdsa.build,
    "s3rec": s3rec.build,
    "s3rec-mip": s3rec_mip.build,
    "dssrec": dssrec.build,
    "mminforec": mminforec.build,
    "cl4srec": cl4srec.build,
    "coserec": coserec.build,
    "lma4rec": lma4rec.build,
    "iclrec": iclrec.build,
    "duorec": duorec.build,
    "srma": srma.build,
    "mclrec": mclrec.build,
    "loom": loom.build,
}


AT_LEAST_ONE = {
    *("dim", "hidden", "inner", "layers", "heads", "length", "negatives", "targets", "recent", "copies", "steps"),
    *("intents", "horizontal", "vertical", "batch_size", "pretrain_batch_size", "patience"),
}
AT_LEAST_ZERO = {"epochs", "pretrain_epochs", "weight_decay", "regularisation", "slots", "others", "alpha"}
ABOVE_ZERO = {"lr", "ridge"}


def get_build(name: str) -> Callable[..., list[Stage]]:
    """The `build` of a method by name; an `InputError` names the closest ones."""
    if name not in METHODS:
        plain = {re.sub(r"\W", "", found.replace("+", "plus")): found for found in METHODS}
        close = difflib.get_close_matches(re.sub(r"\W", "", name.lower().replace("+", "plus")), plain, n=1)
        hint = f"did you mean {plain[close[0]]!r}? The" if close else "the"
        raise InputError(f"method {name!r} is not known; {hint} methods are {', '.join(METHODS)}")
    return METHODS[name]


def arguments(name: str) -> dict[str, Any]:
    """The arguments of a method's `build` and their defaults."""
    parameters = inspect.signature(get_build(name)).parameters
    return {key: p.default for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def plain(name: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers as Python's own, with "none" as None where an argument may be none: text has no other word for it."""
    optional = {key for key, wanted in _kinds(name).items() if "None" in wanted}
    own = {key: value.item() if isinstance(value, np.generic) else value for key, value in numbers.items()}
    return {key: None if value == "none" and key in optional else value for key, value in own.items()}


def _kinds(name: str) -> dict[str, set[str]]:
    """The types of a method's arguments, such as {"int", "None"}."""
    parameters = inspect.signature(get_build(name)).parameters
    return {key: set(str(p.annotation).split(" | ")) for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def with_defaults(name: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a method's `build`: those given, else those of the preset given, else their defaults."""
    return {**arguments(name), **preset_of(get_build(name), numbers.get("preset")), **plain(name, numbers)}


def build(name: str, catalog: Catalog, **numbers: Any) -> list[Stage]:
    """Build a method's stages from arguments that `check` accepts; a method refuses for itself what is its own."""
    numbers = check(name, numbers)
    stages = get_build(name)(catalog, **numbers)
    for stage in stages:
        stage.method.name = name
    return stages


def check(name: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers as `plain` gives them, which need no data to be judged.

    Raises:
        InputError: an unknown argument, with its nearest relative; a value of another type or out of range.
    """
    known, kinds, numbers = arguments(name), _kinds(name), plain(name, numbers)
    for key, value in numbers.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise InputError(f"{name} has no argument {key!r}; {hint}it has {', '.join(known) or 'none'}")
        if not _fits(value, kinds[key]):
            wanted = " or ".join(sorted(kinds[key] - {"None"})) + (" or none" if "None" in kinds[key] else "")
            raise InputError(f"{name}: {key}={value!r} should be {wanted}, like its default {known[key]!r}")
        _check_range(name, key, value)
    return numbers


def _check_range(name: str, key: str, value: Any) -> None:
    """What an argument of this name must keep in any method; each checks for itself what else it asks."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    if not math.isfinite(value):
        raise InputError(f"{name}: {key}={value} is no finite number")
    if key in AT_LEAST_ONE and value < 1:
        raise InputError(f"{name}: {key}={value}: at least 1 is needed")
    if key.endswith("dropout") and not 0 <= value < 1:
        raise InputError(f"{name}: {key}={value} must be at least 0 and below 1")
    if (key in AT_LEAST_ZERO or key.endswith("_weight")) and value < 0:
        raise InputError(f"{name}: {key}={value} must be at least 0")
    if key in ABOVE_ZERO and value <= 0:
        raise InputError(f"{name}: {key}={value} must be above 0")


def _fits(value: Any, kinds: set[str]) -> bool:
    """Whether a value is of one of the types; whole numbers are floats too, truth values are no numbers."""
    if value is None or isinstance(value, bool):
        return ("None" if value is None else "bool") in kinds
    found = type(value).__name__
    return found in kinds or (found == "int" and "float" in kinds)


def explain(name: str) -> str:
    """What a method's file says of it: paper, departures, presets; see `argument_texts` for its arguments."""
    function = get_build(name)
    presets = [
        f"preset={preset!r}: {', '.join(f'{key}={value!r}' for key, value in held.items())}."
        for preset, held in getattr(function, "presets", {}).items()
    ]
    about = str(function.__doc__).partition("    Args:")[0]
    texts = (sys.modules[function.__module__].__doc__, about, "\n".join(presets))
    return "\n\n".join(inspect.cleandoc(text) for text in texts if text)


def describe() -> list[dict[str, Any]]:
    """Name, paper, year, needs, use of attributes and file of every method, as rows of a table."""
    rows = []
    for name, function in METHODS.items():
        module = sys.modules[function.__module__]
        about = module.ABOUT
        file = f"recloom/methods/{Path(str(module.__file__)).name}"
        known = {"paper": about.paper, "year": about.year, "needs": about.needs, "attributes": about.attributes}
        rows.append({"name": name, **known, "file": file})
    return rows


__all__ = ["METHODS", "arguments", "build", "check", "describe", "explain", "get_build"]
