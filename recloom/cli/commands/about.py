"""methods, doctor."""

from __future__ import annotations

import os
from typing import Annotated

import typer

import recloom
from recloom.cli.options import Json
from recloom.cli.output import print_json, print_table

OPTIONAL = (
    "pandas",
    "duckdb",
    "pyspark",
    "tensorboard",
    "matplotlib",
    "onnxscript",
    "onnxruntime",
    "fastapi",
    "optuna",
)


def methods(
    name: Annotated[str | None, typer.Argument(help="Show the arguments of this method.")] = None,
    as_json: Json = False,
) -> None:
    """List the methods: name, paper, year, what each makes of attributes, its file; or what one is and its arguments.

    \b
    Examples:
      recloom methods
      recloom methods sasrec
    """
    from recloom.methods import arguments, describe, explain, get_build
    from recloom.methods.argument_texts import argument_texts

    if name is not None:
        found = arguments(name)
        if as_json:
            print_json(found)
        else:
            texts = argument_texts(get_build(name))
            rows = [
                {"argument": key, "default": "none" if value is None else str(value), "meaning": texts.get(key, "")}
                for key, value in found.items()
            ]
            typer.echo(explain(name) + "\n")
            print_table(rows, f"Arguments of {name}: recloom train {name} DATA -o RUN key=value ...")
        return
    shown = ("name", "paper", "year", "attributes", "file")
    rows = [{key: str(row[key] or "") for key in shown} for row in describe()]
    if as_json:
        print_json(describe())
    else:
        print_table(rows)


def doctor(as_json: Json = False) -> None:
    """Print versions, processor, device and folders: what a report of a fault should say.

    \b
    Example:
      recloom doctor
    """
    from recloom.data.public import default_cache
    from recloom.environment import PACKAGES, hardware, versions

    facts = {
        "recloom": recloom.__version__,
        **versions(PACKAGES + OPTIONAL),
        **{name.replace("_", " "): value for name, value in hardware().items()},
        "RECLOOM_DATA": os.environ.get("RECLOOM_DATA"),
        "cache": str(default_cache()),
    }
    if as_json:
        print_json(facts)
        return
    shown = {name: "none" if value is None else value for name, value in facts.items()}
    print_table(
        [
            {"what": name, "found": value if isinstance(value, (str, bool)) else str(value)}
            for name, value in shown.items()
        ]
    )
