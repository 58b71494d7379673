"""compare, tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recloom.cli.options import Cutoffs, Device, Json, Protocol
from recloom.cli.output import print_json, print_table, say
from recloom.cli.values import (
    parse_cutoffs,
    parse_list,
    parse_numbers,
    parse_numbers_by_method,
    parse_search,
    parse_varied,
    refuse_options,
    with_options,
)
from recloom.errors import InputError


def compare(
    data: Annotated[Path, typer.Argument(help="Prepared data: a folder of `recloom prepare`.")],
    methods: Annotated[str, typer.Option(help="Names, separated by commas; or all.")],
    numbers: Annotated[
        list[str] | None, typer.Argument(help="Arguments: key=value, or METHOD.key=value for one of them.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds each method that learns is trained with.")] = 3,
    protocol: Protocol = "full-mask",
    k: Cutoffs = "5,10,20",
    metric: Annotated[
        str | None, typer.Option(help="What sorts the table and is tested; NDCG@10, or at the largest cut-off.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="What the tests are against, several by commas; else the first method.")
    ] = None,
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
      recloom compare data/shop --methods sasrec,s3rec,loom --baseline sasrec,s3rec -o runs/fair
      recloom compare data/shop --methods all --seeds 1 -o runs/all --tables reports/all
      recloom compare data/shop --methods dssrec --vary dssrec.trusted_share=0,0.25,0.5,0.75
    """
    names = parse_list(methods)
    if not names:
        raise InputError("--methods is empty; name them, such as pop,sasrec (`recloom methods` lists them)")
    shared, own = parse_numbers_by_method(numbers)
    shared = with_options(shared, epochs=epochs)
    from recloom.comparison import compare as compare_methods
    from recloom.leaderboard import shown_metrics

    refuse_options(shared, compare_methods)
    found = compare_methods(
        data,
        "all" if names == ["all"] else names,
        seeds=seeds,
        protocol=protocol,
        k=parse_cutoffs(k),
        metric=metric,
        baseline=parse_list(baseline or ""),
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
        raise typer.Exit(bool(found.failed))
    shown = shown_metrics(found.leaderboard.columns, found.metric)
    rows = [_leader(row, found.metric, shown) for row in found.leaderboard.to_dicts()]
    print_table(rows, f"Test part, {protocol}: mean ± standard deviation over seeds [95 % interval over users]")
    if found.tests.height:
        typer.echo()
        print_table(
            [_tested(row) for row in found.tests.to_dicts()],
            f"Paired tests of {found.metric} over users, p with Holm's correction",
        )
    if found.failed:
        typer.echo(f"\nNot compared, as they failed: {', '.join(found.failed)}", err=True)
        raise typer.Exit(1)


def _leader(row: dict[str, Any], metric: str, metrics: list[str]) -> dict[str, Any]:
    """A row of the leaderboard as it is printed: the interval beside the metric that sorts, one coverage."""
    shown: dict[str, Any] = {"method": row["method"]}
    coverages = [name for name in row if name.startswith("coverage@") and not name.endswith("_sd")]
    for name in [*metrics, *coverages[-1:]]:
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

    given = parse_numbers(numbers)
    refuse_options(given, search_arguments)
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
        **given,
    )
    rows = found.trials.sort("score", descending=True, nulls_last=True).to_dicts()
    if as_json:
        said = {"method": found.method, "metric": found.metric, "protocol": found.protocol}
        print_json(said | {"best": found.best, "trials": rows})
        return
    print_table(rows, f"{found.metric} on validation, {found.protocol}; score: as a share of trial 0's")
    if out is not None:
        typer.echo(f"\nThe best is a recipe: recloom train {method} {data} --recipe {out / 'best.toml'} -o RUN")
