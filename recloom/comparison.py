"""Several methods on one data set: a leaderboard with spread, intervals and paired tests."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recloom import methods as catalogue
from recloom.data.dataset import Dataset
from recloom.errors import InputError
from recloom.evaluation import Evaluation, Evaluator, bootstrap, compare_paired, cut_offs, get_protocol
from recloom.leaderboard import Comparison, command_line
from recloom.run import Run
from recloom.run_training import train


def fitting(data: Dataset) -> list[str]:
    """Every method that can be trained on the data: all, or those that need no attributes where there are none."""
    known = catalogue.describe()
    return [row["name"] for row in known if data.catalog.n_attributes or row["attributes"] != "needed"]


def compare(
    data: Dataset | str | Path,
    methods: Sequence[str] | str,
    *,
    seeds: int = 3,
    protocol: str = "full-mask",
    k: int | Sequence[int] = (5, 10, 20),
    metric: str | None = None,
    baseline: str | Sequence[str] | None = None,
    numbers: Mapping[str, Mapping[str, Any]] | None = None,
    vary: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
    out: str | Path | None = None,
    tables: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    say: Callable[[str], object] = lambda text: None,
    **shared: Any,
) -> Comparison:
    """Train methods with several seeds and compare them on the test part.

    Args:
        methods: names from `recloom.methods.METHODS`, one or several, or "all" that the data allow. Methods that only
            count are built once.
        seeds: seeds 1..n of every method that trains. A method that fails with one, such as for diverging, is left out
            and told in `failed`; the others go on.
        metric: sorts the table and is tested; any metric that is a mean over users. NDCG@10 if None, or at the largest
            cut-off where 10 is none.
        baseline: what the tests are against, one or several; the first of the methods if None.
        numbers: arguments by method, such as `{"sasrec": {"dim": 128}}`.
        vary: values of arguments by method, such as `{"sasrec": {"dim": [32, 64]}}`; each of them, or each combination,
            takes part by a name such as "sasrec dim=32".
        out: folder to keep the runs in; the same call after a stop continues there.
        tables: folder where `leaderboard.json` and `leaderboard.md` are written after each method; `out` if None.
        say: told a line after each run.
        shared: arguments for every method that has them, such as `epochs=20`.

    Raises:
        InputError: an unknown method, argument, metric or baseline, known before anything is trained; or every method
            has failed.
    """
    data = data if isinstance(data, Dataset) else Dataset.load(Path(data))
    out, tables = (None if place is None else Path(place).expanduser() for place in (out, tables))
    k, methods = cut_offs(k), [methods] if isinstance(methods, str) and methods != "all" else methods
    if methods != "all" and "all" in methods:
        raise InputError("methods: 'all' stands alone, as it takes in every method that the data allow")
    names = fitting(data) if methods == "all" else list(dict.fromkeys(methods))
    settings = _settings(names, _numbers(names, numbers or {}, shared), vary or {})
    names, tables = list(settings), out if tables is None else tables
    baselines = list(dict.fromkeys([baseline] if isinstance(baseline, str) else baseline or names[: len(names) > 1]))
    if seeds < 1:
        raise InputError(f"seeds={seeds}: at least 1 is needed")
    for name in baselines:
        if name not in names:
            raise InputError(f"baseline={name!r} is not compared; choose one of {', '.join(names)}")
    offered = _offered(data, protocol, k)
    metric = metric or f"NDCG@{10 if 10 in k else max(k, default=10)}"
    if metric not in offered:
        raise InputError(
            f"metric={metric!r} cannot be compared under {protocol} with these data; choose one of {', '.join(offered)}"
        )
    if tables is not None and tables.is_file():
        raise InputError(f"{tables} is a file; give a folder for leaderboard.json and leaderboard.md")
    Evaluator(data, protocol=protocol, k=k)  # says what it cannot rank
    command = command_line(
        "all" if methods == "all" else ",".join(dict.fromkeys(methods)),
        {
            "seeds": seeds,
            "protocol": protocol,
            "k": ",".join(map(str, k)),
            "metric": metric,
            "baseline": ",".join(baselines),
        },
        {"": shared, **(numbers or {})},
        vary or {},
    )
    trains = {label: _trains(label, name, data, chosen) for label, (name, chosen) in settings.items()}
    found: dict[str, list[Evaluation]] = {}
    facts: dict[str, dict[str, Any]] = {}
    recipes: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}

    def compared() -> Comparison:
        """The tables over what has been trained so far."""
        table = pl.DataFrame([{"method": name, **row} for name, row in facts.items()]).sort(metric, descending=True)
        there = [name for name in baselines if name in found]
        tests = compare_paired(found, metric, there) if len(found) > 1 and there else pl.DataFrame()
        missing = [name for name in settings if name not in facts and name not in failed]
        made = recipes, dict(found), missing, dict(failed), command
        return Comparison(table, tests, protocol, metric, baselines, data.identity(), *made)

    with tempfile.TemporaryDirectory(prefix="recloom-compare-") if out is None else nullcontext(out) as place:
        for label, (name, chosen) in settings.items():
            runs, evaluations = [], []
            try:
                for seed in range(1, seeds + 1 if trains[label] else 2):
                    folder = Path(place) / re.sub(r"[^\w.=+-]", "-", label) / f"seed-{seed}"
                    runs.append(train(name, data, out=folder, seed=seed, device=device, progress=progress, **chosen))
                    evaluations.append(runs[-1].evaluate(protocol=protocol, k=k))
                    say(f"{label} seed {seed}: {metric} {evaluations[-1].metrics().get(metric, float('nan')):.4f}")
            except InputError as error:
                failed[label] = str(error)
                say(f"{label} seed {seed}: {error}")
                continue
            found[label], recipes[label] = evaluations, _recipe(runs)
            facts[label] = _summary(evaluations) | _facts(runs)
            if tables is not None:
                compared().write(tables)
    if not facts:
        raise InputError(f"nothing could be compared; {'; '.join(f'{name}: {why}' for name, why in failed.items())}")
    comparison = compared()
    if failed and tables is not None:
        comparison.write(tables)
    return comparison


def _offered(data: Dataset, protocol: str, k: Sequence[int]) -> list[str]:
    """The metrics that every method has one value a user of: those of lists where all items compete."""
    kinds, asked = ["HR", "NDCG"], data.split.test
    if get_protocol(protocol).candidates == "all":
        several = bool((asked.target_stop - asked.stop > 1).any())
        kinds += ["Recall", "popularity", "novelty"] if several else ["popularity", "novelty"]
    return ["MRR", *(f"{kind}@{cut}" for kind in kinds for cut in k)]


def _numbers(
    names: Sequence[str], numbers: Mapping[str, Mapping[str, Any]], shared: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The arguments of each method; one that no method has is an error."""
    if not names:
        raise InputError(f"methods: none given; choose from {', '.join(catalogue.METHODS)}")
    known = {name: catalogue.arguments(name) for name in names}
    for key in shared:
        if not any(key in arguments for arguments in known.values()):
            raise InputError(f"none of {', '.join(names)} has an argument {key!r}")
    for name in numbers:
        if name not in names:
            raise InputError(f"numbers are given for {name!r}, which is not among the methods {', '.join(names)}")
    return {
        name: {key: value for key, value in shared.items() if key in known[name]} | dict(numbers.get(name, {}))
        for name in names
    }


def _settings(
    names: Sequence[str], numbers: Mapping[str, dict[str, Any]], vary: Mapping[str, Mapping[str, Sequence[Any]]]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Method and arguments by the name of what takes part."""
    for name, varied in vary.items():
        if name not in names:
            raise InputError(f"values are given for {name!r}, which is not among the methods {', '.join(names)}")
        for key, values in varied.items():
            if not values:
                raise InputError(f"{name}.{key}: no value is given to vary it over")
    settings = {}
    for name in names:
        varied = vary.get(name, {})
        for values in product(*varied.values()):
            these = dict(zip(varied, values, strict=True))
            label = " ".join([name, *(f"{key}={value}" for key, value in these.items())])
            settings[label] = name, {**numbers[name], **these}
    return settings


def _trains(label: str, name: str, data: Dataset, chosen: Mapping[str, Any]) -> bool:
    """Whether a method learns anything; an `InputError` about its arguments says which method it is."""
    try:
        return any(stage.epochs for stage in catalogue.build(name, data.catalog, **chosen))
    except InputError as error:
        raise InputError(f"{label}: {error} ({name}.ARGUMENT=VALUE is for this method alone)") from error


def _summary(runs: Sequence[Evaluation]) -> dict[str, float]:
    """Mean, spread over seeds, and interval over users of the seeds' mean."""
    each = [run.metrics() for run in runs]
    values_of = [run.values() for run in runs]
    per_user = {name: np.mean([values[name] for values in values_of], axis=0) for name in values_of[0]}
    low, high = bootstrap(np.stack(list(per_user.values()), 1))
    bounds = dict(zip(per_user, zip(low.tolist(), high.tolist(), strict=True), strict=True))
    row: dict[str, float] = {}
    for name in each[0]:
        values = [one[name] for one in each]
        row[name] = float(np.mean(values))
        row[f"{name}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        if name in bounds:
            row[f"{name}_low"], row[f"{name}_high"] = bounds[name]
    return row


def _recipe(runs: Sequence[Run]) -> dict[str, Any]:
    """That of the first seed, with the commits of all."""
    environments = [run.recipe.get("environment", {}) for run in runs]
    commits = list(dict.fromkeys(name for one in environments for name in one.get("commits", [])))
    return runs[0].recipe | {"environment": environments[0] | {"commits": commits}}


def _facts(runs: Sequence[Run]) -> dict[str, Any]:
    """Seeds, mean seconds and epochs of one, parameters, and what selected the weights, which is the same for all."""
    chosen, costs = [run.selected for run in runs], [run.cost for run in runs]
    kept = [one["epoch"] + 1 for one in chosen if one is not None]
    return {
        "seeds": len(runs),
        **{name: float(np.mean([cost[name] for cost in costs])) for name in ("train_seconds", "epochs")},
        "best_epoch": float(np.mean(kept)) if kept else None,
        "parameters": sum(p.numel() for p in runs[0].method.parameters()),
        "selected_by": "" if chosen[0] is None else f"{chosen[0]['metric']} {chosen[0]['protocol']}",
    }
