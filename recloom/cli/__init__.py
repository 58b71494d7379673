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
    predict.export,
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

STOPPED = {128 + signal.SIGTERM: "SIGTERM", 128 + signal.SIGINT: "Ctrl-C"}
"""Exit codes of commands that were told to stop."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 if it worked, 2 with one message on bad input or a file that cannot be used.

    Other errors keep their traceback.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=words, prog_name="recloom")
    except InputError as error:
        print(f"recloom: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if error.filename is None:
            raise
        print(f"recloom: {error.filename}: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None
    except SystemExit as stop:
        if stop.code in STOPPED:
            onward = "; the same command goes on" if _keeps_what_it_did(words) else ""
            print(f"recloom: stopped by {STOPPED[stop.code]}{onward}", file=sys.stderr)
        raise


def _keeps_what_it_did(words: Sequence[str]) -> bool:
    """Whether a command that is stopped goes on when it is given again."""
    kept = any(word in ("-o", "--out") or word.startswith("--out=") for word in words)
    return words[0] in ("train", "reproduce") or (kept and words[0] in ("compare", "tune"))


__all__ = ["app", "main"]
