"""train, evaluate, compare, tune, reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recloom.cli.output import print_json, print_table, say
from recloom.cli.values import (
    parse_cutoffs,
    parse_list,
    parse_numbers,
    parse_numbers_by_method,
    parse_search,
    parse_seeds,
    parse_varied,
    read_numbers,
)
from recloom.errors import InputError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Protocol = Annotated[str, typer.Option(help="full-mask, full-open, sample-99 or pop-100.")]
Cutoffs = Annotated[str, typer.Option("--k", "-k", help="Cut-offs of the metrics.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def train(
    method: Annotated[str, typer.Argument(help="A method of `recloom methods`.")],
    data: Annotated[Path, typer.Argument(help="Prepared data: a folder of `recloom prepare`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    numbers: Annotated[list[str] | None, typer.Argument(help="Arguments of the method: key=value ...")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe file whose numbers are used; key=value go before.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Makes the result, together with data and numbers.")] = 1,
    epochs: Annotated[int | None, typer.Option(help="The most epochs; the method's own if not given.")] = None,
    device: Device = "auto",
    precision: Annotated[
        str | None, typer.Option(help="fp32 or bf16 in the loss's products; mixed: bf16 autocast of the whole step.")
    ] = None,
    devices: Annotated[int, typer.Option(help="How many processes or cards.")] = 1,
    stage: Annotated[str | None, typer.Option(help="Train this stage alone, such as pretrain.")] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A run whose backbone training starts from, such as a pre-trained one; repeat its dim, layers ...",
        ),
    ] = None,
    share: Annotated[float, typer.Option(help="Share of the users trained on, drawn by the seed.")] = 1.0,
    corrupt: Annotated[float, typer.Option(help="Share of training actions replaced by uniform items.")] = 0.0,
    progress: Annotated[bool, typer.Option("--progress/--no-progress", help="The progress bar.")] = True,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also log for TensorBoard.")] = False,
) -> None:
    """Train a method; the run it leaves evaluates and recommends.

    The same command after a stop continues the run.

    \b
    Examples:
      recloom train sasrec data/shop -o runs/shop
      recloom train sasrec data/shop -o runs/bce loss=bce dim=128 lr=1e-3 --seed 2
      recloom train sasrec data/beauty -o runs/beauty --recipe recipes/beauty/sasrec.toml
      recloom train s3rec data/beauty -o runs/pre --stage pretrain pretrain_epochs=20
      recloom train s3rec data/beauty -o runs/bce --from runs/pre pretrain_epochs=20 loss=bce
    """
    from recloom.run import train as train_run

    chosen = _numbers(method, recipe, numbers, epochs)
    mixed = precision == "mixed"
    if precision is not None and not mixed:
        chosen["precision"] = precision
    run = train_run(
        method,
        data,
        out=out,
        seed=seed,
        device=device,
        devices=devices,
        progress=progress,
        tensorboard=tensorboard,
        mixed_precision=mixed,
        stage=stage,
        start=start,
        share=share,
        corrupt=corrupt,
        **chosen,
    )
    history = run.history
    say(f"{method}: {history.height} epochs" if history.height else f"{method}: ready, nothing to train")
    onward = f"recloom evaluate {out}"
    if stage == "pretrain":
        onward = f"recloom train {method} {data} -o RUN --from {out} (and the same arguments)"
    say(f"The run is in {out}. Next: {onward}")


def _numbers(method: str, recipe: Path | None, pairs: list[str] | None, epochs: int | None) -> dict[str, Any]:
    """Arguments of `build`: those of the recipe, then those typed, then --epochs."""
    chosen = {} if recipe is None else read_numbers(recipe, method)
    chosen |= parse_numbers(pairs)
    return chosen if epochs is None else {**chosen, "epochs": epochs}


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    split: Annotated[str, typer.Option(help="test or valid.")] = "test",
    protocol: Protocol = "full-mask",
    k: Cutoffs = "5,10,20",
    data: Annotated[Path | None, typer.Option(help="Prepared data, if not that of the run.")] = None,
    any_data: Annotated[bool, typer.Option("--any-data", help="Evaluate on other data than trained on.")] = False,
    groups: Annotated[bool, typer.Option("--groups", help="Also by history length and item popularity.")] = False,
    insert_noise: Annotated[
        float, typer.Option("--insert-noise", min=0, max=1, help="Random items in each history, for each of its own.")
    ] = 0.0,
    as_json: Json = False,
) -> None:
    """Rank the held-out items of every user; print the metrics with 95 % intervals over users.

    \b
    Examples:
      recloom evaluate runs/shop
      recloom evaluate runs/shop --split valid --protocol full-open --k 10 --json
      recloom evaluate runs/shop --insert-noise 0.15
    """
    if split not in ("test", "valid"):
        raise InputError(f"--split {split!r} is not known; choose test or valid")
    from recloom.run import load

    found = load(run).evaluate(protocol, parse_cutoffs(k), split, data, any_data=any_data, insert_noise=insert_noise)
    if as_json:
        print_json(found.to_dict())
        return
    intervals = found.intervals()
    rows = [{"metric": name, "value": value, **_bounds(intervals.get(name))} for name, value in found.metrics().items()]
    noise = f", {insert_noise:.0%} random items inserted" if insert_noise else ""
    print_table(rows, f"{found.method}, {protocol}, {split}, {len(found.ranks):,} users{noise}")
    if groups:
        print_table(found.by_length().to_dicts(), "By history length")
        print_table(found.by_popularity().to_dicts(), "By popularity of the target")


def _bounds(interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"95 % from": low, "to": high}


def compare(
    data: Annotated[Path, typer.Argument(help="Prepared data: a folder of `recloom prepare`.")],
    methods: Annotated[str, typer.Option(help="Names, separated by commas; or all.")],
    numbers: Annotated[
        list[str] | None, typer.Argument(help="Arguments: key=value, or METHOD.key=value for one of them.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds each method that learns is trained with.")] = 3,
    protocol: Protocol = "full-mask",
    k: Cutoffs = "5,10,20",
    metric: Annotated[str, typer.Option(help="What sorts the table and is tested.")] = "NDCG@10",
    baseline: Annotated[str | None, typer.Option(help="What the tests are against; else the first method.")] = None,
    vary: Annotated[
        list[str] | None, typer.Option(help="METHOD.key=value,value,...: each value takes part by itself.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="The most epochs.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to keep the runs in.")] = None,
    tables: Annotated[
        Path | None, typer.Option(help="Folder for leaderboard.json and leaderboard.md; else that of the runs.")
    ] = None,
    device: Device = "auto",
    progress: Annotated[bool, typer.Option("--progress/--no-progress", help="The progress bars.")] = True,
    as_json: Json = False,
) -> None:
    """Train several methods and print a leaderboard: means, spread over seeds, intervals, paired tests.

    \b
    Examples:
      recloom compare data/shop --methods pop,repeat-recent,sasrec --seeds 3
      recloom compare data/shop --methods pop,sasrec sasrec.dim=128 -o runs/compare
      recloom compare data/shop --methods all --seeds 1 -o runs/all --tables reports/all
      recloom compare data/shop --methods dssrec --vary dssrec.trusted_share=0,0.25,0.5,0.75
    """
    names = parse_list(methods)
    if not names:
        raise InputError("--methods is empty; name them, such as pop,sasrec (`recloom methods` lists them)")
    shared, own = parse_numbers_by_method(numbers)
    if epochs is not None:
        shared["epochs"] = epochs
    from recloom.comparison import compare as compare_methods

    found = compare_methods(
        data,
        "all" if names == ["all"] else names,
        seeds=seeds,
        protocol=protocol,
        k=parse_cutoffs(k),
        metric=metric,
        baseline=baseline,
        numbers=own,
        vary=parse_varied(vary),
        out=out,
        tables=tables,
        device=device,
        progress=progress and not as_json,
        say=say,
        **shared,
    )
    if as_json:
        print_json(found.to_dict())
        return
    rows = [_leader(row, metric) for row in found.leaderboard.to_dicts()]
    print_table(rows, f"Test part, {protocol}: mean ± standard deviation over seeds [95 % interval over users]")
    if found.tests.height:
        typer.echo()
        print_table(
            [_tested(row) for row in found.tests.to_dicts()],
            f"Paired tests of {metric} over users, p with Holm's correction",
        )


def _leader(row: dict[str, Any], metric: str) -> dict[str, Any]:
    """A row of the leaderboard as it is printed: the interval beside the metric that sorts, one coverage."""
    shown: dict[str, Any] = {"method": row["method"]}
    coverages = [name for name in row if name.startswith("coverage@") and not name.endswith("_sd")]
    for name in [
        name for name in row if name.split("@")[0] in ("HR", "NDCG", "Recall") and "_" not in name
    ] + coverages[-1:]:
        shown[name] = f"{row[name]:.4f}" + (f" ± {row[f'{name}_sd']:.4f}" if row["seeds"] > 1 else "")
        if name == metric and f"{name}_low" in row:
            shown[name] += f" [{row[f'{name}_low']:.4f}, {row[f'{name}_high']:.4f}]"
    return {**shown, "seeds": row["seeds"], "seconds": round(row["train_seconds"]), "parameters": row["parameters"]}


def _tested(row: dict[str, Any]) -> dict[str, Any]:
    p = row["p_holm"]
    return {
        "method": row["method"],
        "against": row["against"],
        "difference": f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]",
        "p (Holm)": "< 0.0001" if p < 1e-4 else f"{p:.4f}",
    }


def tune(
    method: Annotated[str, typer.Argument(help="A method of `recloom methods`.")],
    data: Annotated[Path, typer.Argument(help="Prepared data: a folder of `recloom prepare`.")],
    numbers: Annotated[list[str] | None, typer.Argument(help="Arguments that stay: key=value ...")] = None,
    search: Annotated[
        list[str] | None, typer.Option(help="What is searched: key=value,value or key=low..high (:log by magnitude).")
    ] = None,
    also: Annotated[list[Path] | None, typer.Option(help="More prepared data that one setting should serve.")] = None,
    trials: Annotated[int, typer.Option(help="How many settings are tried.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the search and of every training.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for all trials and the best.")] = None,
    device: Device = "auto",
    progress: Annotated[bool, typer.Option("--progress/--no-progress", help="The progress bars.")] = True,
    as_json: Json = False,
) -> None:
    """Search for a method's arguments on validation with Optuna; the test part is not looked at.

    The first trial has the arguments given or their defaults. The same command after a stop goes on; with more
    --trials it searches longer.

    \b
    Examples:
      recloom tune sasrec data/shop --search dropout=0.1..0.6 --search dim=64,128 --trials 20 -o runs/tune
      recloom tune sasrec data/shop epochs=30 --search lr=1e-4..1e-2:log --also data/other -o runs/tune
      recloom train sasrec data/shop --recipe runs/tune/best.toml -o runs/best
    """
    from recloom.tuning import tune as search_arguments

    found = search_arguments(
        method,
        [data, *(also or [])],
        parse_search(search),
        trials=trials,
        seed=seed,
        out=out,
        device=device,
        progress=progress and not as_json,
        say=say,
        **parse_numbers(numbers),
    )
    rows = found.trials.sort("score", descending=True, nulls_last=True).to_dicts()
    if as_json:
        print_json({"method": found.method, "metric": found.metric, "best": found.best, "trials": rows})
        return
    print_table(rows, f"{found.metric} on validation, {found.protocol}; score: as a share of trial 0's")
    if out is not None:
        typer.echo(f"\nThe best is a recipe: recloom train {method} {data} --recipe {out / 'best.toml'} -o RUN")


def reproduce(
    recipes: Annotated[list[Path], typer.Argument(help="Recipe files: recipes/<dataset>/<method>.toml")],
    data: Annotated[Path | None, typer.Option(help="Folder of data sets; else RECLOOM_DATA.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 1,2,3; else those of the recipe.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of results.")] = Path("results"),
    work: Annotated[Path, typer.Option(help="Where runs are kept while they train.")] = Path("runs/reproduce"),
    keep: Annotated[bool, typer.Option("--keep", help="Keep the trained runs there.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also seeds that have a result of this recipe.")] = False,
    device: Device = "auto",
    progress: Annotated[bool, typer.Option("--progress/--no-progress", help="The progress bar.")] = True,
) -> None:
    """Train recipes on their data sets, evaluate on test, and write results/.

    A result is written after each seed; the same command after a stop continues.

    \b
    Example:
      recloom reproduce recipes/beauty/pop-all.toml recipes/beauty/sasrec.toml --seeds 1,2,3
    """
    from recloom.reproduce import reproduce as reproduce_recipes

    written = reproduce_recipes(
        recipes,
        data=data,
        seeds=None if seeds is None else parse_seeds(seeds),
        out=out,
        work=work,
        keep=keep,
        again=again,
        device=device,
        progress=progress,
        say=say,
    )
    for file in written:
        typer.echo(str(file))
    typer.echo(str(out / "README.md"))
