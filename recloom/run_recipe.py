"""`recipe.toml`: what a run's folder says of how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recloom import methods
from recloom.errors import InputError
from recloom.recommend.artifact import is_artifact
from recloom.toml_files import read_toml

FORMAT = 1


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """What TOML can hold: None, which it has no word for, is left out."""
    return {key: value for key, value in values.items() if value is not None}


def numbers_to_write(method: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a method as TOML can hold them: "none" where one is None that is not so by default."""
    default = methods.arguments(method)
    return {
        key: "none" if value is None else value
        for key, value in methods.with_defaults(method, numbers).items()
        if value is not None or default[key] is not None
    }


def read_recipe(path: Path) -> dict[str, Any]:
    """The recipe of a run folder."""
    file = path / "recipe.toml"
    if is_artifact(path) and not file.exists():
        raise InputError(f"{path} is an artifact, which only recommends; give the run that it was exported from")
    if not file.exists():
        found = "it has no recipe.toml" if path.is_dir() else "there is no such folder"
        raise InputError(f"{path} is not a run: {found}. Give a folder that `recloom train METHOD DATA -o FOLDER` made")
    recipe = read_toml(file)
    if recipe.get("format") != FORMAT:
        raise InputError(f"{file}: format {recipe.get('format')!r}, but this version reads {FORMAT}; upgrade recloom")
    if missing := [name for name in ("method", "numbers", "training", "data") if name not in recipe]:
        raise InputError(f"{file} is damaged: it has no {', '.join(missing)}; train again into another folder")
    return recipe


def require_same(path: Path, recipe: dict[str, Any]) -> None:
    """Refuse to continue somebody else's folder. Arguments that came since it was written have their default there."""
    if not (path / "recipe.toml").exists():
        raise InputError(f"{path} holds files that are not a run; choose another folder for it")
    found = read_recipe(path)
    if found["method"] == recipe["method"]:
        found["numbers"] = numbers_to_write(found["method"], found["numbers"])
    for table in ("method", "numbers", "training"):
        if found[table] != recipe[table]:
            raise InputError(
                f"{path} already holds a run of another recipe ({unlike(table, found[table], recipe[table])}); "
                f"choose another folder or delete it"
            )
    if found["data"]["fingerprint"] != recipe["data"]["fingerprint"]:
        raise InputError(f"{path} already holds a run on other data; choose another folder or delete it")


def unlike(table: str, there: Any, here: Any) -> str:
    """What differs, each with both values."""
    if not isinstance(there, dict):
        return f"{table}={there!r} there, {here!r} asked for"
    keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
    return "; ".join(f"{key}={there.get(key)!r} there, {here.get(key)!r} asked for" for key in keys)
