"""How a `build` takes over the arguments of the parts it is composed of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from recloom.data.catalog import Catalog
from recloom.errors import InputError
from recloom.training import Backbone, Stage

MakeBackbone = partial[Backbone]
"""A `make_backbone` whose numbers are filled in; it takes the catalog."""


SHARED_NEGATIVES = ("shared_negatives", "sampler", "alpha", "calibration", "counts")
"""Arguments of `NextItem` that methods with a plain next-item loss hide."""


def composed(*, hidden: tuple[str, ...] = (), **parts: Callable[..., Any]) -> Callable[..., Callable[..., list[Stage]]]:
    """A decorator: the keyword arguments of the parts become arguments of `build`, by their names and defaults.

    `build` itself is written with one argument a part. It receives a class as an instance, and a function, such as a
    `make_backbone`, with its numbers filled in. `functools.partial` gives a part another default.

    Args:
        hidden: arguments of parts that `build` does not take over.
        parts: classes or functions, by the name of the argument of `build`.
    """
    own = {name: _keywords(part, hidden) for name, part in parts.items()}

    def decorate(build: Callable[..., list[Stage]]) -> Callable[..., list[Stage]]:
        taken = {key: name for name, keywords in own.items() for key in keywords}
        signature = inspect.signature(build)
        kept = [parameter for name, parameter in signature.parameters.items() if name not in parts]
        twice = sorted({parameter.name for parameter in kept} & set(taken))
        if twice or len(taken) < sum(map(len, own.values())):
            raise TypeError(f"{build.__module__}: two parts have an argument {twice or sorted(taken)} of the same name")

        @wraps(build)
        def wrapper(catalog: Catalog, **numbers: Any) -> list[Stage]:
            rest = {key: value for key, value in numbers.items() if key not in taken}
            filled = {}
            for name, part in parts.items():
                given = {key: numbers.get(key, default.default) for key, default in own[name].items()}
                filled[name] = part(**given) if inspect.isclass(_inner(part)) else partial(part, **given)
            return build(catalog, **filled, **rest)

        more = [parameter for keywords in own.values() for parameter in keywords.values()]
        wrapper.__signature__ = signature.replace(parameters=[*kept, *more])  # type: ignore[attr-defined]
        wrapper.parts = list(parts.values())  # type: ignore[attr-defined]
        return wrapper

    return decorate


def with_presets(**presets: dict[str, Any]) -> Callable[..., Callable[..., list[Stage]]]:
    """A decorator: `build` gets an argument `preset`, which gives others what it holds where they are not given.

    None leaves the defaults. `build.presets` tells what each holds.
    """

    def decorate(build: Callable[..., list[Stage]]) -> Callable[..., list[Stage]]:
        signature = inspect.signature(build)
        unknown = sorted({key for held in presets.values() for key in held} - set(signature.parameters))
        if unknown:
            raise TypeError(f"{build.__module__}: a preset holds {unknown}, which `build` does not take")

        @wraps(build)
        def wrapper(catalog: Catalog, *, preset: str | None = None, **numbers: Any) -> list[Stage]:
            return build(catalog, **{**preset_of(wrapper, preset), **numbers})

        parameter = inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None")
        wrapper.__signature__ = signature.replace(parameters=[*signature.parameters.values(), parameter])  # type: ignore[attr-defined]
        wrapper.presets = presets  # type: ignore[attr-defined]
        return wrapper

    return decorate


def preset_of(build: Callable[..., list[Stage]], name: str | None) -> dict[str, Any]:
    """What a preset of `build` holds; an `InputError` names those it has."""
    presets: dict[str, dict[str, Any]] = getattr(build, "presets", {})
    if name is None:
        return {}
    if name not in presets:
        raise InputError(f"preset={name!r} is not known; choose one of {', '.join(presets)}, or leave it out")
    return presets[name]


def _inner(part: Callable[..., Any]) -> Callable[..., Any]:
    return part.func if isinstance(part, partial) else part


def _keywords(part: Callable[..., Any], hidden: tuple[str, ...]) -> dict[str, inspect.Parameter]:
    """The arguments of a part that have defaults, as keyword arguments."""
    return {
        name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(part).parameters.items()
        if parameter.default is not inspect.Parameter.empty and name not in hidden
    }
