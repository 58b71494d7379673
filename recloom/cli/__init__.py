"""The command line: argument parsing and printing, nothing else. Heavy imports happen inside commands."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from recloom.cli.application import app, public
from recloom.cli.commands import about, comparing, data, predict, training
from recloom.errors import InputError

for command in (
    data.prepare,
    data.describe,
    training.train,
    training.evaluate,
    predict.recommend,
    predict.similar,
    comparing.compare,
    comparing.tune,
    about.methods,
    about.doctor,
    training.reproduce,
):
    app.command()(command)
public.command("list")(data.list_public)
public.command("get")(data.get_public)
app.add_typer(public)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 if it worked, 2 with one message on bad input; other errors keep their traceback."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="recloom")
    except InputError as error:
        print(f"recloom: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except SystemExit as stop:
        if stop.code == 128 + signal.SIGTERM:
            print("recloom: stopped by SIGTERM; the same command goes on", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print("recloom: stopped", file=sys.stderr)
        raise SystemExit(130) from None


__all__ = ["app", "main"]
