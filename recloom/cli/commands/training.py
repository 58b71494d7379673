"""train, evaluate, reproduce."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from recloom.cli.options import Cutoffs, Device, Json, Protocol
from recloom.cli.output import print_json, print_table, say
from recloom.cli.values import (
    parse_cutoffs,
    parse_list,
    parse_numbers,
    parse_seeds,
    read_numbers,
    refuse_options,
    require_parquet,
    with_options,
)
from recloom.errors import InputError


def train(
    method: Annotated[str, typer.Argument(help="A method of `recloom methods`.")],
    data: Annotated[Path, typer.Argument(help="Prepared data: a folder of `recloom prepare`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    numbers: Annotated[list[str] | None, typer.Argument(help="Arguments of the method: key=value ...")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe file whose numbers are used; key=value go before.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Makes the result, together with data and numbers.")] = 1,
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
    from recloom.data.dataset import Dataset
    from recloom.methods import describe
    from recloom.run_training import train as train_run

    prepared = Dataset.load(data)
    mixed = precision == "mixed"
    chosen = {} if recipe is None else read_numbers(recipe, method, say)
    chosen |= with_options(parse_numbers(numbers), epochs=epochs, precision=None if mixed else precision)
    refuse_options(chosen, train_run)
    reads = {str(row["name"]): row["attributes"] != "unread" for row in describe()}
    if prepared.catalog.n_attributes and not reads.get(method, True):
        others = ", ".join(name for name, does in reads.items() if does)
        say(f"{method} does not read the attributes of the items; these methods do: {others}")
    run = train_run(
        method,
        prepared,
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
    trained = f"{method}: {history.height} epochs" if history.height else f"{method}: ready, nothing to train"
    if kept := run.selected:
        after = f"after {kept['epoch'] + 1}"
        if kept["metric"] == "any3":
            trained += f"; validation HR@5, NDCG@5 or HR@10 rose last {after}"
        else:
            trained += f"; validation {kept['metric']} is best {after}, {kept['value']:.4f}"
    say(trained)
    onward = f"recloom evaluate {quote(str(out))}"
    if not len(prepared.split.valid):
        onward = f"recloom recommend {quote(str(out))} --history ITEM,ITEM"
    if stage == "pretrain":
        onward = f"recloom train {method} {quote(str(data))} -o RUN --from {quote(str(out))} (and the same arguments)"
    say(f"The run is in {out}. Next: {onward}")


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    split: Annotated[str, typer.Option(help="test or valid.")] = "test",
    protocol: Protocol = "full-mask",
    k: Cutoffs = "5,10,20",
    data: Annotated[Path | None, typer.Option(help="Prepared data, if not that of the run.")] = None,
    any_data: Annotated[bool, typer.Option("--any-data", help="Evaluate on other data than trained on.")] = False,
    groups: Annotated[bool, typer.Option("--groups", help="Also by history length and item popularity.")] = False,
    length_edges: Annotated[
        str | None,
        typer.Option(help="Edges of the groups by length instead of quartiles: 5,8 for below 5, 5 to 7, 8 and more."),
    ] = None,
    insert_noise: Annotated[
        float, typer.Option("--insert-noise", min=0, max=1, help="Random items in each history, for each of its own.")
    ] = 0.0,
    per_user: Annotated[
        Path | None, typer.Option("--per-user", help="Parquet file of every user's rank and metrics.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Rank the held-out items of every user; print the metrics with 95 % intervals over users.

    \b
    Examples:
      recloom evaluate runs/shop
      recloom evaluate runs/shop --split valid --protocol full-open --k 10 --json
      recloom evaluate runs/shop --groups --length-edges 5,8
      recloom evaluate runs/shop --insert-noise 0.15
      recloom evaluate runs/shop --per-user ranks.parquet
    """
    if split not in ("test", "valid"):
        raise InputError(f"--split {split!r} is not known; choose test or valid")
    edges = None if length_edges is None else parse_cutoffs(length_edges, "--length-edges")
    require_parquet(per_user, "--per-user")
    from recloom.data.files import write_atomically
    from recloom.run import load

    loaded = load(run, device=device)
    on = loaded.data(data, any_data=any_data)
    found = loaded.evaluate(protocol, parse_cutoffs(k), split, on, any_data=any_data, insert_noise=insert_noise)
    if per_user is not None:
        write_atomically(per_user, found.per_user(on).write_parquet)
    grouped = {}
    if groups or edges:
        lengths = found.by_length() if edges is None else found.by_length(edges)
        grouped = {"length": lengths.to_dicts(), "popularity": found.by_popularity().to_dicts()}
    if as_json:
        print_json(found.to_dict() | ({"groups": grouped} if grouped else {}))
        return
    intervals = found.intervals()
    rows = [{"metric": name, "value": value, **_bounds(intervals.get(name))} for name, value in found.metrics().items()]
    noise = f", {insert_noise:.0%} random items inserted" if insert_noise else ""
    print_table(rows, f"{found.method}, {protocol}, {split}, {len(found.ranks):,} users{noise}")
    if grouped:
        print_table(grouped["length"], "By history length")
        print_table(grouped["popularity"], "By popularity of the target")


def _bounds(interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"95 % from": low, "to": high}


def reproduce(
    recipes: Annotated[list[Path], typer.Argument(help="Recipe files: recipes/<dataset>/<method>.toml")],
    data: Annotated[Path | None, typer.Option(help="Folder of data sets; else RECLOOM_DATA.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 1,2,3; else those of the recipe.")] = None,
    variants: Annotated[str | None, typer.Option(help="Such as softmax,bce; else all of the recipe.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of results.")] = Path("results"),
    work: Annotated[Path, typer.Option(help="Where runs are kept while they train.")] = Path("runs/reproduce"),
    keep: Annotated[bool, typer.Option("--keep", help="Keep the trained runs there.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also seeds that have a result of this recipe.")] = False,
    device: Device = "auto",
    progress: Annotated[bool, typer.Option("--progress/--no-progress", help="The progress bar.")] = True,
) -> None:
    """Train recipes on their data sets, evaluate on test, and write results/.

    A result is written after each seed; the same command after a stop continues. The folder of data sets holds, by the
    name of the recipe's folder, NAME/interactions.parquet (user_id, item_id, timestamp) and, where items have
    attributes, NAME/items.parquet (item_id, attributes).

    \b
    Examples:
      recloom reproduce recipes/beauty/pop-all.toml recipes/beauty/sasrec.toml --seeds 1,2,3
      recloom reproduce recipes/beauty/iclrec.toml --variants softmax
    """
    from recloom.reproduce import reproduce as reproduce_recipes

    written = reproduce_recipes(
        recipes,
        data=data,
        seeds=None if seeds is None else parse_seeds(seeds),
        variants=None if variants is None else parse_list(variants),
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
