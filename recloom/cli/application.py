"""The Typer application that the functions of `commands` are registered with."""

from __future__ import annotations

from typing import Annotated

import typer

import recloom

app = typer.Typer(
    name="recloom",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
public = typer.Typer(name="data", no_args_is_help=True, help="Public data sets: list, get.", rich_markup_mode=None)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"recloom {recloom.__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """recloom learns what people will want next from what they did before.

    A log of actions becomes prepared data, a trained run, honest numbers and recommendations:

    \b
      recloom prepare log.csv -o data/shop
      recloom train sasrec data/shop -o runs/shop
      recloom evaluate runs/shop
      recloom recommend runs/shop --history "a,b,c"
    """
