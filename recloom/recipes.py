"""Recipe files: a method, its numbers, and the published rows to compare with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recloom import methods
from recloom.errors import InputError
from recloom.evaluation import get_protocol
from recloom.results import published_rows
from recloom.toml_files import read_toml

SEEDS = (1, 2, 3)
KEYS = {"method", "protocols", "seeds", "numbers", "published", "stage", "start", "negatives", "variants", "remark"}


@dataclass(frozen=True)
class Recipe:
    """A recipe file, `recipes/<dataset>/<name>.toml`.

    Args:
        file: where it was read.
        method: a name from `recloom.methods.METHODS`.
        protocols: every protocol its runs are evaluated under.
        numbers: arguments of the method's `build`.
        seeds: seeds trained when none are asked for.
        published: rows to compare with, by protocol: metric values and their `source`, one under
            `[published.<protocol>]` or several under `[[published.<protocol>]]`; those of a variant, under
            `[variants.<name>.published.<protocol>]`, stand instead of the file's.
        stage: the one stage that is trained, such as "pretrain"; all if None.
        start: name of the recipe beside it whose run of the same seed this one starts from.
        negatives: file of the data set with published negatives (`user_id`, `negatives`) for "sample-99".
        variant: which of the file's `[variants.<name>]` this is; its numbers stand above those of `[numbers]`.
        variants: all of the file's, in its order; the first is what the others are compared with.
        remark: what a reader of its numbers should know, such as why they differ from the published ones.
    """

    file: Path
    method: str
    protocols: tuple[str, ...] = ("full-mask",)
    numbers: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = SEEDS
    published: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    stage: str | None = None
    start: str | None = None
    negatives: str | None = None
    variant: str | None = None
    variants: tuple[str, ...] = ()
    remark: str | None = None

    @property
    def dataset(self) -> str:
        return self.file.resolve().parent.name

    @property
    def name(self) -> str:
        return self.file.stem if self.variant is None else f"{self.file.stem}-{self.variant}"

    @property
    def digest(self) -> str:
        """Of all that changes a number: the method, its arguments with their defaults, the protocols."""
        content: list[Any] = [self.method, methods.with_defaults(self.method, self.numbers), sorted(self.protocols)]
        before = None if self.start is None else self.beside(self.start).digest
        content += [[part] for part in (self.stage, before, self.negatives) if part is not None]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def beside(self, name: str) -> Recipe:
        """Another recipe of the same folder."""
        return read_recipes(self.file.with_name(f"{name}.toml"))[0]


def read_recipes(file: str | Path) -> list[Recipe]:
    """Read and check a recipe file: one recipe, or one for each of its `[variants.<name>]`.

    Raises:
        InputError: not there, not TOML, an unknown key, method, argument or protocol.
    """
    path = Path(file)
    content = read_toml(path)
    unknown = sorted(set(content) - KEYS)
    if unknown or "method" not in content:
        found = f"unknown key {unknown[0]!r}" if unknown else "no method"
        raise InputError(
            f"{path}: {found}; a recipe has method, protocols, seeds, stage, start, negatives, remark, [numbers], "
            f"[variants.<name>] and [published.<protocol>]"
        )
    recipe = Recipe(
        path,
        content["method"],
        tuple(content.get("protocols", ["full-mask"])),
        content.get("numbers", {}),
        tuple(content.get("seeds", SEEDS)),
        published_rows(content.get("published", {})),
        content.get("stage"),
        content.get("start"),
        content.get("negatives"),
        remark=content.get("remark"),
    )
    for name in recipe.protocols:
        get_protocol(name)
    variants = {name: dict(numbers) for name, numbers in content.get("variants", {}).items()}
    published = {
        name: published_rows(numbers.pop("published")) if "published" in numbers else recipe.published
        for name, numbers in variants.items()
    }
    for where, rows in (("", recipe.published), *((f"variant {name}: ", rows) for name, rows in published.items())):
        for name in set(rows) - set(recipe.protocols):
            raise InputError(
                f"{path}: {where}[published.{name!r}] is not among its protocols {', '.join(recipe.protocols)}"
            )
    known = methods.arguments(recipe.method)
    for name in {*recipe.numbers, *(key for numbers in variants.values() for key in numbers)} - set(known):
        raise InputError(f"{path}: {recipe.method} has no argument {name!r}; it has {', '.join(known) or 'none'}")
    if not variants:
        return [recipe]
    recipe = replace(recipe, variants=tuple(variants))
    return [
        replace(recipe, numbers={**recipe.numbers, **numbers}, variant=variant, published=published[variant])
        for variant, numbers in variants.items()
    ]
