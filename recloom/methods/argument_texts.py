"""What each argument of a method means, read from the docstrings of the code that takes it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

NAMES = re.compile(r"    (\w+(?:, \w+)*): ?(.*)")
MENTIONED = re.compile(r"`(\w+(?:\.\w+)?)`")


def argument_texts(build: Callable[..., Any]) -> dict[str, str]:
    """The text of each argument of a `build` that has one.

    An argument is explained under "Args:" in the docstring of `build`, of a part it is composed of, or of a class or
    function that one of these names in backticks; the first that explains it counts.
    """
    found: dict[str, str] = {}
    for taker in _takers([build], set()):
        for name, text in _under_args(taker).items():
            found.setdefault(name, text)
    return found


def _takers(named: list[Any], seen: set[Any]) -> Iterator[Any]:
    """Each class and function, then its parts, its bases and those its docstring names, depth first."""
    for taker in named:
        parts = getattr(taker, "parts", [])
        taker = inspect.unwrap(taker.func if isinstance(taker, partial) else taker)
        if taker in seen:
            continue
        seen.add(taker)
        yield taker
        mentioned = (_named(taker, name) for name in MENTIONED.findall(taker.__doc__ or ""))
        found = [*(taker.__bases__ if inspect.isclass(taker) else ()), *mentioned]
        ours = [each for each in found if _package(each) in ("recloom", _package(taker))]
        yield from _takers([*parts, *(each for each in ours if inspect.isclass(each) or inspect.isroutine(each))], seen)


def _named(taker: Any, name: str) -> Any:
    """What a name in the docstring of a class or function stands for in its file; None for nothing."""
    found: Any = sys.modules[taker.__module__]
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _package(thing: Any) -> str:
    return str(getattr(thing, "__module__", "")).partition(".")[0]


def _under_args(taker: Any) -> dict[str, str]:
    """`name, name: text` under "Args:" of a docstring, lines joined, with an entry for each name."""
    lines = iter(inspect.cleandoc(taker.__doc__ or "").splitlines())
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        if line == "Args:":
            break
    for line in lines:
        if line and not line.startswith(" "):
            break
        if entry := NAMES.fullmatch(line):
            names = entry[1].split(", ")
            texts.update(dict.fromkeys(names, entry[2]))
        elif line.strip():
            texts.update({name: f"{texts[name]} {line.strip()}".strip() for name in names})
    return texts
