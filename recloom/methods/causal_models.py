"""Another causal encoder in place of the Transformer that a method's paper has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from recloom.errors import InputError, refuse_unread
from recloom.methods import caser, gru4rec, sasrec
from recloom.methods.composition import MakeBackbone
from recloom.training import Backbone, Stage

CAUSAL_MODELS: dict[str, Callable[..., Backbone]] = {
    "sasrec": sasrec.make_backbone,
    "gru4rec": gru4rec.make_backbone,
    "caser": caser.make_backbone,
}
SHARED = ("dim", "length", "dropout")
"""Numbers of the Transformer that the other models read too."""


def over(model: str, backbone: MakeBackbone, build: Callable[..., list[Stage]]) -> MakeBackbone:
    """The backbone of a model by the numbers given for a Transformer.

    Args:
        model: one of `CAUSAL_MODELS`.
        backbone: that of the Transformer, with the numbers given.
        build: what has those numbers as arguments; one that the model does not read must have its default.
    """
    if model not in CAUSAL_MODELS:
        raise InputError(f"model={model!r} is not known; choose one of {', '.join(CAUSAL_MODELS)}")
    if model == "sasrec":
        return backbone
    arguments = inspect.signature(build).parameters
    unread = {key: value for key, value in backbone.keywords.items() if key in arguments and key not in SHARED}
    refuse_numbers_of_transformer(model, SHARED, unread, build)
    return partial(CAUSAL_MODELS[model], **{name: backbone.keywords[name] for name in SHARED})


def refuse_numbers_of_transformer(
    model: str, read: Iterable[str], unread: Mapping[str, Any], build: Callable[..., list[Stage]]
) -> None:
    """An `InputError` where a number that a model does not read has another value than its default in `build`.

    Args:
        read: names of those that it reads.
        unread: the others' values by name.
    """
    reason = f"model={model!r} reads {', '.join(read)} alone; leave it out, or choose model='sasrec'"
    refuse_unread(build, unread, reason)
