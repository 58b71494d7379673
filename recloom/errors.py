"""The one error that bad input raises, and the check of numbers that nothing would read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


class InputError(ValueError):
    """Something the caller gave cannot be used; the message says what was found and what to do.

    The command line prints the message alone and exits with code 2.
    """


def refuse_unread(part: Callable[..., Any], given: Mapping[str, Any], reason: str) -> None:
    """An `InputError` where an argument that nothing reads has another value than its default in `part`.

    Args:
        given: values by argument.
        reason: why nothing reads them, and what to do.
    """
    parameters = inspect.signature(part).parameters
    for name, value in given.items():
        if value != parameters[name].default:
            raise InputError(f"{name}={value!r} has no effect: {reason}")
