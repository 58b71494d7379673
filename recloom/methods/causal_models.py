"""Another causal encoder in place of the Transformer that a method's paper has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

from recloom.errors import InputError
from recloom.methods import caser, gru4rec, sasrec
from recloom.methods.composition import MakeBackbone, refuse_unread
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
    reason = f"model={model!r} reads {', '.join(SHARED)} alone; leave it out, or choose model='sasrec'"
    refuse_unread(build, unread, reason)
    return partial(CAUSAL_MODELS[model], **{name: backbone.keywords[name] for name in SHARED})
