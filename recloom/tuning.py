"""A search for a method's arguments by Optuna: validation alone decides, and every trial is kept."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import tomli_w

from recloom import methods
from recloom.data.dataset import Dataset
from recloom.data.files import write_text_atomically
from recloom.errors import InputError
from recloom.evaluation.candidates import get_part
from recloom.run_recipe import numbers_to_write, unlike
from recloom.run_training import train
from recloom.search_space import DRAWS, Range, Search, load_optuna, suggest

FORMAT = 1
TRIALS, BEST = "trials.json", "best.toml"


@dataclass(frozen=True)
class Tuning:
    """What `tune` found.

    Attributes:
        method, metric, protocol: what was tuned, and by which metric on validation under which protocol.
        trials: one row a trial in their order: `trial`, `score` (the mean over data sets of the metric, as a share of
            the first trial's; null where it failed), the searched arguments, the metric on each data set, `seconds` of
            training and validation, `error`.
        best: the arguments of the best trial, with those that were not searched.
    """

    method: str
    metric: str
    protocol: str
    trials: pl.DataFrame
    best: dict[str, Any] = field(repr=False)

    def markdown(self) -> str:
        """The trials, best first, as a Markdown table."""
        table = self.trials.sort("score", descending=True, nulls_last=True)
        lines = [
            f"{self.method}, by {self.metric} on validation under {self.protocol}; trial 0 has the arguments given.\n",
            f"| {' | '.join(table.columns)} |",
            f"|{'---|' * len(table.columns)}",
        ]
        for row in table.rows():
            lines.append(f"| {' | '.join(_shown(value) for value in row)} |")
        return "\n".join(lines) + "\n"


def tune(
    method: str,
    data: Dataset | str | Path | Sequence[Dataset | str | Path],
    search: Search,
    *,
    trials: int = 20,
    seed: int = 1,
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    say: Callable[[str], object] = lambda text: None,
    **numbers: Any,
) -> Tuning:
    """Search for arguments of a method with Optuna's tree-structured Parzen estimator.

    The first trial has the arguments given, or their defaults. Each trial trains on every data set and scores the mean
    of the metric that selects the weights on validation, as a share of the first trial's, so that data sets count
    alike; the test part is not looked at. A trial that fails, for arguments that do not go together or for want of
    memory, is noted and passed over. No setting is tried twice: the search ends early where there is no other.

    Args:
        method: a name from `recloom.methods.METHODS` that trains.
        data: prepared data, or several that one setting should serve.
        search: by argument a `Range` or a list of values, such as `{"lr": Range(1e-4, 1e-2, log=True),
            "dim": [64, 128]}`.
        trials: how many in all, those of an earlier call with the same folder included.
        seed: of the search and of every training.
        out: folder for `trials.json`, `trials.md` and `best.toml` (a recipe for `recloom train --recipe`), written
            after each trial; the same call after a stop continues there.
        say: told a line after each trial.
        numbers: other arguments of the method.

    Raises:
        InputError: an unknown argument, one that is both given and searched, a method that does not train, no Optuna,
            or a folder that holds another search.
    """
    optuna = load_optuna()
    given = [data] if isinstance(data, (Dataset, str, Path)) else list(data)
    datasets = [one if isinstance(one, Dataset) else Dataset.load(Path(one)) for one in given]
    for one in datasets:
        get_part(one, "valid")  # says where nothing is held out
    named = dict(zip(_names(datasets), datasets, strict=True))
    metric, protocol = _check(method, search, numbers, trials, datasets)
    search = {key: _choice(method, key, choice) for key, choice in search.items()}
    head: dict[str, Any] = {
        "format": FORMAT,
        "method": method,
        "numbers": methods.with_defaults(method, numbers),
        "search": {key: asdict(one) if isinstance(one, Range) else list(one) for key, one in search.items()},
        "seed": seed,
        "metric": metric,
        "protocol": protocol,
        "data": {name: one.identity() for name, one in named.items()},
    }
    with tempfile.TemporaryDirectory(prefix="recloom-tune-") if out is None else nullcontext(out) as place:
        folder = Path(place)
        done = _read(folder / TRIALS, json.loads(json.dumps(head)))
        _write(folder, head, done)  # before anything is trained, so that another search finds the folder taken
        for number in range(len(done), trials):
            chosen = {} if number == 0 else suggest(optuna, search, done, seed)
            if chosen is None:
                say(f"{number} settings have been tried, and {DRAWS} draws brought no other")
                break
            work = folder / f"trial-{number}"
            try:
                tried = _tried(method, named, {**numbers, **chosen}, work, seed, device, progress)
                if number == 0 and tried["error"]:
                    raise InputError(f"the first trial, with the arguments given, fails: {tried['error']}")
            except Exception:
                if number == 0:
                    shutil.rmtree(work, ignore_errors=True)
                    (folder / TRIALS).unlink()
                raise
            arguments = {key: head["numbers"][key] for key in search} | chosen
            first = done[0] if done else tried
            done.append({"trial": number, "arguments": arguments, **tried, "score": _score(tried, first)})
            _write(folder, head, done)
            shutil.rmtree(work, ignore_errors=True)
            say(_line(done[-1]))
    return _tuning(head, done)


def _names(datasets: Sequence[Dataset]) -> list[str]:
    """A short name for each data set: that of its folder where these differ, else its number."""
    names = ["" if one.path is None else one.path.name for one in datasets]
    return names if all(names) and len(set(names)) == len(names) else [f"data-{n}" for n in range(1, len(names) + 1)]


def _check(
    method: str, search: Search, numbers: Mapping[str, Any], trials: int, datasets: Sequence[Dataset]
) -> tuple[str, str]:
    """What can be known before anything is trained; the metric on validation that decides, and its protocol."""
    known = methods.arguments(method)
    if trials < 1:
        raise InputError(f"trials={trials}: at least 1 is needed")
    if not datasets:
        raise InputError("tune: no data are given")
    if not search:
        raise InputError(f"nothing is searched; give arguments of {method}, such as lr or dropout")
    if "preset" in search:
        raise InputError(
            "preset cannot be searched, as it sets other arguments; compare presets with "
            f"`recloom compare --vary {method}.preset=...`"
        )
    for key in ("valid_metric", "valid_protocol"):
        if key in search:
            raise InputError(f"{key} cannot be searched: trials are compared by it; give one, as {key}=VALUE")
    for key, choice in search.items():
        if key not in known:
            raise InputError(f"{method} has no argument {key!r} to search; it has {', '.join(known) or 'none'}")
        if key in numbers:
            raise InputError(f"{key} is both given and searched; leave one out")
        if not isinstance(choice, Range) and not list(choice):
            raise InputError(f"{key}: no value is given to search")
    stages = [methods.build(method, one.catalog, **numbers)[-1] for one in datasets]
    metric, protocol = stages[0].monitor, stages[0].protocol
    if metric is None or not stages[0].epochs:
        raise InputError(f"{method} is not trained with a look at validation, so there is nothing to tune it by")
    if metric == "any3":
        raise InputError("valid_metric=any3 compares epochs of one training; to tune, choose a metric such as NDCG@10")
    return metric, protocol


def _choice(method: str, key: str, choice: Range | Sequence[Any]) -> Range | Sequence[Any]:
    """A range, or values as the method takes them; an `InputError` about one of another type or out of range."""
    asked = [choice.low, choice.high] if isinstance(choice, Range) else choice
    values = [methods.check(method, {key: value})[key] for value in asked]
    return choice if isinstance(choice, Range) else values


def _tried(
    method: str,
    datasets: Mapping[str, Dataset],
    numbers: Mapping[str, Any],
    folder: Path,
    seed: int,
    device: str,
    progress: bool,
) -> dict[str, Any]:
    """The validation value on every data set, or why there is none."""
    values: dict[str, float] = {}
    environment: dict[str, Any] = {}
    seconds, error = 0.0, None
    for name, data in datasets.items():
        began = time.perf_counter()
        try:
            run = train(method, data, out=folder / name, seed=seed, device=device, progress=progress, **numbers)
            chosen, cost = run.selected, run.cost
            assert chosen is not None
            values[name], environment = chosen["value"], run.recipe["environment"]
            seconds += cost["train_seconds"] + cost["valid_seconds"]  # those before a stop too
        except (InputError, RuntimeError, MemoryError) as problem:
            if isinstance(problem, RuntimeError) and "memory" not in str(problem):  # as torch calls want of it
                raise
            error = str(problem).strip().split("\n")[0] or type(problem).__name__
            seconds += time.perf_counter() - began
            break
    return {"values": values, "seconds": round(seconds, 1), "error": error, "environment": environment}


def _score(tried: Mapping[str, Any], first: Mapping[str, Any]) -> float | None:
    """The mean over data sets of the values as shares of the first trial's; None for a trial that failed."""
    if tried["error"]:
        return None
    shares = [value / max(first["values"][name], 1e-12) for name, value in tried["values"].items()]
    return sum(shares) / len(shares)


def _read(file: Path, head: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trials of an earlier call, which must have been the same search."""
    if not file.exists():
        return []
    before = json.loads(file.read_text(encoding="utf-8"))
    for key, wanted in head.items():
        if before.get(key) != wanted:
            raise InputError(
                f"{file} holds another search ({unlike(key, before.get(key), wanted)}); "
                f"choose another folder or delete it"
            )
    return list(before["trials"])


def _tuning(head: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> Tuning:
    best = max((trial for trial in done if trial["score"] is not None), key=lambda trial: trial["score"])
    rows = [
        {"trial": trial["trial"], "score": trial["score"]}
        | trial["arguments"]
        | {name: trial["values"].get(name) for name in head["data"]}
        | {"seconds": trial["seconds"], "error": trial["error"]}
        for trial in done
    ]
    table = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    return Tuning(head["method"], head["metric"], head["protocol"], table, head["numbers"] | best["arguments"])


def _write(folder: Path, head: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> None:
    """All trials for a machine and for people, and the best as a recipe."""
    text = json.dumps({**head, "trials": list(done)}, indent=1) + "\n"
    write_text_atomically(folder / TRIALS, text)
    if not done:
        return
    tuning = _tuning(head, done)
    recipe = {"method": tuning.method, "numbers": numbers_to_write(tuning.method, tuning.best)}
    write_text_atomically(folder / "trials.md", tuning.markdown())
    write_text_atomically(folder / BEST, tomli_w.dumps(recipe))


def _line(trial: Mapping[str, Any]) -> str:
    """What is said of a trial."""
    chosen = " ".join(f"{key}={_shown(value)}" for key, value in trial["arguments"].items())
    if trial["error"]:
        return f"trial {trial['trial']}: {chosen}: {trial['error']}"
    values = ", ".join(f"{name} {value:.4f}" for name, value in trial["values"].items())
    return f"trial {trial['trial']}: {chosen}: {values} ({100 * (trial['score'] - 1):+.1f} % of the first)"


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
