"""Recipe files: a method, its numbers, and the published rows to compare with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, ValidationError

from recloom import methods
from recloom.errors import InputError
from recloom.evaluation import get_protocol
from recloom.results import published_rows
from recloom.toml_files import read_toml

SEEDS = (1, 2, 3)


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
        InputError: not there, not TOML, an unknown key, method, argument or protocol, a value of another kind.
    """
    path = Path(file)
    content = _checked(path, read_toml(path))
    recipe = Recipe(
        path,
        content.method,
        tuple(content.protocols),
        content.numbers,
        tuple(content.seeds),
        _rows(content.published),
        content.stage,
        content.start,
        content.negatives,
        remark=content.remark,
    )
    for name in recipe.protocols:
        get_protocol(name)
    if not content.variants:
        return [_of_variant(recipe, None, _Variant())]
    recipe = replace(recipe, variants=tuple(content.variants))
    return [_of_variant(recipe, name, variant) for name, variant in content.variants.items()]


class _Row(BaseModel):
    """A published row: its source, and values by metric."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, float] = Field(init=False)
    source: str = "published"


Published = Annotated[
    dict[str, list[_Row]], BeforeValidator(lambda found: published_rows(found) if isinstance(found, dict) else found)
]


class _Variant(BaseModel):
    """Numbers of a variant and, in place of the file's, published rows of its own."""

    model_config = ConfigDict(strict=True, extra="allow")
    published: Published | None = None


class _File(BaseModel):
    """What a recipe file holds, before it is known whether methods, arguments and protocols exist."""

    model_config = ConfigDict(strict=True, extra="forbid")
    method: str
    protocols: list[str] = Field(["full-mask"], min_length=1)
    seeds: list[NonNegativeInt] = Field(list(SEEDS), min_length=1)
    numbers: dict[str, Any] = {}
    published: Published = {}
    stage: str | None = None
    start: str | None = None
    negatives: str | None = None
    variants: dict[str, _Variant] = {}
    remark: str | None = None


def _checked(path: Path, content: dict[str, Any]) -> _File:
    """The content of a file; an `InputError` names the file, the first key that is wrong and what it holds."""
    try:
        return _File(**content)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        found = f"{where}={wrong['input']!r}: {wrong['msg']}"
        if wrong["type"] == "extra_forbidden":
            found = f"unknown key {where!r}"
        if wrong["type"] == "missing":
            found = f"no {where}"
        raise InputError(
            f"{path}: {found}; a recipe has method, protocols, seeds, stage, start, negatives, remark, [numbers], "
            f"[variants.<name>] and [published.<protocol>]"
        ) from error


def _rows(published: dict[str, list[_Row]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [row.model_dump(exclude_unset=True) for row in rows] for name, rows in published.items()}


def _of_variant(recipe: Recipe, name: str | None, variant: _Variant) -> Recipe:
    """The recipe with a variant's numbers and published rows, once its arguments and protocols are known to exist."""
    published = recipe.published if variant.published is None else _rows(variant.published)
    for protocol in set(published) - set(recipe.protocols):
        where = "" if name is None else f"variant {name}: "
        raise InputError(
            f"{recipe.file}: {where}[published.{protocol!r}] is not among its protocols {', '.join(recipe.protocols)}"
        )
    found = replace(recipe, numbers=recipe.numbers | (variant.model_extra or {}), variant=name, published=published)
    try:
        methods.check(found.method, found.numbers)
    except InputError as error:
        raise InputError(f"{recipe.file}: {error}") from error
    return found
