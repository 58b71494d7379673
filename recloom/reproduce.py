"""Reproduce the numbers of recipe files: train each seed, evaluate on test, write `results/`."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recloom import methods
from recloom.data.dataset import Dataset, prepare
from recloom.data.files import write_text_atomically
from recloom.environment import code_version, hardware, versions
from recloom.errors import InputError
from recloom.evaluation import Evaluator, given_candidates
from recloom.recipes import Recipe, read_recipes
from recloom.results import check_folder, write_tables
from recloom.run import Run
from recloom.run_recipe import numbers_to_write
from recloom.run_training import train
from recloom.start import chosen_stages

FORMAT = 1
CUTOFFS = (1, 5, 10, 20)


def data_folder(given: str | Path | None) -> Path:
    """The folder of data sets: what is given, else the environment variable RECLOOM_DATA."""
    found = given or os.environ.get("RECLOOM_DATA")
    if not found:
        raise InputError(
            "give the folder of data sets with --data FOLDER, or set the environment variable RECLOOM_DATA"
        )
    folder = Path(found)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; --data (or RECLOOM_DATA) names the folder that holds <dataset>/")
    return folder


def read_data(folder: Path, name: str) -> Dataset:
    """Prepare `<folder>/<name>/{interactions,items}.parquet` as it is: no user or item is filtered away."""
    log, items = folder / name / "interactions.parquet", folder / name / "items.parquet"
    if not log.exists():
        have = ", ".join(sorted(path.parent.name for path in folder.glob("*/interactions.parquet"))) or "no data set"
        raise InputError(f"data set {name!r}: {log} does not exist; {folder} holds {have}")
    return prepare(log, items=items if items.exists() else None, min_user=0, min_item=0)


def reproduce(
    files: Sequence[str | Path],
    *,
    data: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] | None = None,
    out: str | Path = "results",
    work: str | Path = "runs/reproduce",
    keep: bool = False,
    again: bool = False,
    device: str = "auto",
    progress: bool = True,
    say: Callable[[str], object] = lambda line: None,
) -> list[Path]:
    """Train and evaluate recipes, one seed at a time; return the result files.

    A result is written whole after each seed, so that a stopped command continues with the next one; a seed
    stopped while it trains continues from its last epoch. What a recipe lacks is said before anything is trained.

    Args:
        files: recipe files.
        data: folder of data sets; RECLOOM_DATA if None.
        seeds: instead of those of the recipes.
        variants: those to train of each recipe, which must have them; all if None.
        out: folder of results; `out/<dataset>/<recipe>.json`, `out/README.md` with the table of them all,
            `out/variants.md`, which compares the variants of a recipe over data sets, and `out/lists.md`, which tells
            what the recommended lists hold.
        work: where runs are kept while they train.
        keep: keep the trained runs there.
        again: also train seeds that have a result of the same recipe and, once, what they start from.
        say: receives one line of progress at a time.
    """
    recipes = [recipe for file in files for recipe in _chosen(read_recipes(file), variants)]
    version, folder = code_version(), data_folder(data)
    check_folder(Path(out))
    datasets = {name: read_data(folder, name) for name in dict.fromkeys(recipe.dataset for recipe in recipes)}
    candidates = [_checked(recipe, datasets[recipe.dataset], folder) for recipe in recipes]
    written: dict[Path, None] = {}
    renewed: set[Path] | None = set() if again else None
    for recipe, given in zip(recipes, candidates, strict=True):
        dataset, file = datasets[recipe.dataset], Path(out) / recipe.dataset / f"{recipe.name}.json"
        for seed in seeds or recipe.seeds:
            if str(seed) in _opened(file, recipe, dataset)["seeds"] and not again:
                say(f"{recipe.dataset}/{recipe.name} seed {seed}: there already")
                continue
            say(f"{recipe.dataset}/{recipe.name} seed {seed}: {recipe.method} on {len(dataset.user_ids):,} users")
            place = _place(Path(work), recipe, seed)
            began = time.perf_counter()
            run = _trained(recipe, dataset, Path(work), seed, renewed, device=device, progress=progress)
            seconds = round(time.perf_counter() - began, 1)
            commits = run.recipe["environment"].get("commits", [])  # more than one where it was stopped and went on
            entry = {"wall_seconds": seconds, **version, "commits": commits, **measure(run, recipe, given)}
            result = _opened(file, recipe, dataset)  # with the seeds that others have written in the meantime
            result["seeds"] = dict(sorted({**result["seeds"], str(seed): entry}.items(), key=lambda pair: int(pair[0])))
            _write(file, result)
            written[file] = None
            if not keep:
                shutil.rmtree(place, ignore_errors=True)
            say(f"{recipe.dataset}/{recipe.name} seed {seed}: {summary(entry)}")
            write_tables(Path(out))
    write_tables(Path(out))
    return list(written)


def _chosen(recipes: list[Recipe], variants: Sequence[str] | None) -> list[Recipe]:
    """The recipes of a file that are of these variants."""
    if variants is None:
        return recipes
    have = recipes[0].variants
    for name in variants or [""]:
        if name not in have:
            found = f"it has {', '.join(have)}" if have else "it has none"
            raise InputError(f"{recipes[0].file}: there is no variant {name!r}; {found}")
    return [recipe for recipe in recipes if recipe.variant in variants]


def _place(work: Path, recipe: Recipe, seed: int) -> Path:
    """Where the run of a recipe is kept while it trains."""
    return work / recipe.dataset / f"{recipe.name}-{recipe.digest}-seed{seed}"


def _checked(recipe: Recipe, data: Dataset, folder: Path) -> NDArray[np.int32] | None:
    """The candidates of "sample-99" that a recipe names, None for ours, once it is known that it can be trained."""
    try:
        chosen_stages(methods.build(recipe.method, data.catalog, **recipe.numbers), recipe.stage, 0)
        if recipe.start is not None:
            recipe.beside(recipe.start)
        given = None if recipe.negatives is None else read_negatives(folder / recipe.dataset / recipe.negatives, data)
        for name in recipe.protocols:
            Evaluator(data, protocol=name, candidates=_given(name, given))
        return given
    except InputError as error:
        raise InputError(f"{recipe.file}: {error}") from error


def _given(protocol: str, candidates: NDArray[np.int32] | None) -> NDArray[np.int32] | None:
    """Published candidates are those of "sample-99"."""
    return candidates if protocol == "sample-99" else None


def _trained(recipe: Recipe, data: Dataset, work: Path, seed: int, renewed: set[Path] | None, **options: Any) -> Run:
    """The run of a recipe, after that of the recipe it starts from, which stays for others that start there too.

    `renewed` are the places of runs that were trained anew; None goes on with what is there.
    """
    before = None if recipe.start is None else recipe.beside(recipe.start)
    start = None if before is None else _trained(before, data, work, seed, renewed, **options)
    place = _place(work, recipe, seed)
    if renewed is not None and place not in renewed:
        shutil.rmtree(place, ignore_errors=True)
        renewed.add(place)
    return train(
        recipe.method, data, out=place, seed=seed, stage=recipe.stage, start=start, **options, **recipe.numbers
    )


def read_negatives(file: Path, data: Dataset) -> NDArray[np.int32]:
    """The candidates of every test user from published negatives."""
    if not file.exists():
        raise InputError(f"negatives {file} does not exist")
    table = pl.read_parquet(file)
    row_of = {user: row for row, user in enumerate(table["user_id"].to_list())}
    users = np.asarray(data.user_ids)[data.split.test.users].tolist()
    missing = [user for user in users if user not in row_of]
    if missing:
        raise InputError(f"{file}: user {missing[0]!r} has no negatives ({len(missing)} such users)")
    table = table[[row_of[user] for user in users]]
    lengths = table["negatives"].list.len().unique().to_list()
    if len(lengths) != 1:
        raise InputError(f"{file}: as many negatives for every user are needed; found {min(lengths)} to {max(lengths)}")
    items = data.catalog.encode(table["negatives"].explode().to_list()).reshape(len(users), -1)
    return given_candidates(data, "test", items.astype(np.int32))


def measure(run: Run, recipe: Recipe, given: NDArray[np.int32] | None) -> dict[str, Any]:
    """What is written of one seed: metrics with 95 % intervals under every protocol, selection, cost, place.

    `given` are the candidates of "sample-99", drawn by us if None.

    Variants are chosen between, so theirs on validation are written too.
    """
    measured: dict[str, dict[str, Any]] = {}
    for name in recipe.protocols:
        evaluation = run.evaluate(name, CUTOFFS, candidates=_given(name, given))
        measured[name] = {
            "metrics": {key: float(value) for key, value in evaluation.metrics().items()},
            "intervals": {key: [float(low), float(high)] for key, (low, high) in evaluation.intervals().items()},
            "users": len(evaluation.ranks),
        }
        if evaluation.lists is not None and evaluation.attributes is not None:
            measured[name]["metrics"]["distance@10"] = evaluation.distance(10)
        if recipe.variants:
            validation = run.evaluate(name, CUTOFFS, "valid", exact=False, lists=False).metrics()
            measured[name]["validation"] = {key: float(value) for key, value in validation.items()}
    return {
        "protocols": measured,
        **_training(run),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "hardware": hardware(),
        "versions": versions(),
    }


def summary(entry: dict[str, Any]) -> str:
    """One line on one seed."""
    parts = [
        f"{name} HR@10 {found['metrics']['HR@10']:.4f} NDCG@10 {found['metrics']['NDCG@10']:.4f}"
        for name, found in entry["protocols"].items()
    ]
    cost = f"{entry['epochs']} epochs, {entry['wall_seconds']:.0f} s"
    return "; ".join([*parts, cost])


def _training(run: Run) -> dict[str, Any]:
    """Epochs and seconds of training, and the validation value that selected the weights (None if nothing did)."""
    return {name: round(value, 1) for name, value in run.cost.items()} | {"selected": run.selected}


def _opened(file: Path, recipe: Recipe, data: Dataset) -> dict[str, Any]:
    """The result file as far as it holds for this recipe and data; without seeds where it does not."""
    result: dict[str, Any] = {
        "format": FORMAT,
        "dataset": recipe.dataset,
        "recipe": recipe.name,
        "file": f"{recipe.dataset}/{recipe.file.name}",
        **_made(recipe),
        "digest": recipe.digest,
        "data": data.identity(),
        "published": recipe.published,
        "variant": recipe.variant,
        "variants": list(recipe.variants),
        "remark": recipe.remark,
        "seeds": {},
    }
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        if _same(before, result, recipe):
            result["seeds"] = before["seeds"]
            if any(before.get(key) != result[key] for key in ("published", "variant", "variants", "remark")):
                _write(file, result)
    return result


def _made(recipe: Recipe) -> dict[str, Any]:
    """What makes a run: method, arguments, how it begins, and `after` the same of the recipe it starts from."""
    return {
        "method": recipe.method,
        "numbers": numbers_to_write(recipe.method, recipe.numbers),
        "begun": {"stage": recipe.stage, "start": recipe.start, "negatives": recipe.negatives},
        "after": None if recipe.start is None else _made(recipe.beside(recipe.start)),
    }


def _same(before: dict[str, Any], result: dict[str, Any], recipe: Recipe) -> bool:
    """Whether seeds of a file are of this recipe: arguments that came since have their default, the rest agrees."""
    if any(before.get(key) != result[key] for key in ("format", "data")):
        return False
    protocols = all(set(seed["protocols"]) == set(recipe.protocols) for seed in before["seeds"].values())
    return before.get("digest") == result["digest"] or (protocols and _agree(before, result))


def _agree(there: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether both make the same runs. Files of before results kept it do not say what their runs started after."""
    defaults, came = methods.arguments(here["method"]), set(here["numbers"]) - set(there["numbers"])
    return (
        all(there.get(key, here["begun"]) == here[key] for key in ("method", "begun"))
        and all(there["numbers"][key] == here["numbers"].get(key) for key in there["numbers"])
        and all(here["numbers"][key] == defaults[key] for key in came)
        and (here["after"] is None or there.get("after") is None or _agree(there["after"], here["after"]))
    )


def _write(file: Path, result: dict[str, Any]) -> None:
    write_text_atomically(file, json.dumps(result, indent=2) + "\n")
