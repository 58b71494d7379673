"""Recipes are TOML: reading one, or saying why it cannot be read."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from recloom.errors import InputError


def read_toml(file: Path) -> dict[str, Any]:
    """The content of a file; an `InputError` names it where it is not there, no text or no TOML."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: recipe not readable: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not readable as TOML: {error}") from error
