"""What S3-Rec pre-trains and fine-tunes besides its Transformer (figure 3 of its paper)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recloom.data.catalog import Catalog
from recloom.data.windows import sliding, whole
from recloom.errors import InputError
from recloom.items import AttributeEmbedding
from recloom.methods import caser, fdsa, gru4rec, gru4rec_f, sasrec, sasrec_f
from recloom.methods.autoint import AutoInt
from recloom.methods.caser import Caser
from recloom.methods.causal_models import refuse_numbers_of_transformer
from recloom.objectives import NextItem
from recloom.training import Backbone, NextItemPrediction, Schedule, Stage, pair_protocol

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "sasrec": sasrec.make_backbone,
    "sasrec-f": sasrec_f.make_backbone,
    "gru4rec": gru4rec.make_backbone,
    "gru4rec-f": gru4rec_f.make_backbone,
    "fdsa": fdsa.make_backbone,
}
"""The models whose backbone can be pre-trained whole."""

MODELS = (*BACKBONES, "autoint", "caser")

RECURRENT = ("gru4rec", "gru4rec-f")
"""Those that read one direction: `context="causal"`."""


def make_backbone(
    model: str,
    catalog: Catalog,
    numbers: Mapping[str, Any],
    of_transformer: Mapping[str, Any],
    build: Callable[..., Any],
) -> Backbone:
    """What is pre-trained for a model: its own backbone, or a Transformer over the items that it takes over.

    See `sasrec.make_backbone` for the numbers.

    Args:
        model: one of `MODELS`.
        numbers: arguments that all read, `of_transformer` those that recurrent models do not.
        build: what has the latter as arguments; for a recurrent model they must have their defaults.
    """
    if model not in MODELS:
        raise InputError(f"model={model!r} is not known; choose one of {', '.join(MODELS)}")
    if model in RECURRENT:
        refuse_numbers_of_transformer(model, numbers, of_transformer, build)
        return BACKBONES[model](catalog, **numbers)
    return BACKBONES.get(model, sasrec.make_backbone)(catalog, **numbers, **of_transformer)


def fine_tuning(
    model: str,
    catalog: Catalog,
    backbone: Backbone,
    next_item: NextItem,
    training: Schedule,
    *,
    dim: int,
    layers: int,
    heads: int,
    length: int,
    dropout: float,
) -> tuple[Stage, AttributeEmbedding | None]:
    """The stage that fine-tunes a model on what was pre-trained, and the attributes that it shares with pre-training.

    AutoInt and Caser take over the embeddings alone.
    """
    optimizer = training.optimizer()
    if model == "autoint":
        attributes = AttributeEmbedding(catalog, dim) if catalog.n_attributes else None
        method = AutoInt(
            catalog,
            dim,
            layers=layers,
            heads=heads,
            dropout=dropout,
            length=length,
            negatives=next_item.negatives,
            items=backbone.items,
            attributes=attributes,
            make_optimizer=optimizer,
        )
        return training.stage(method, sliding, protocol=pair_protocol(catalog.n_items)), attributes
    if model == "caser":
        convolutions = caser.make_backbone(catalog, dim=dim, length=length, dropout=dropout, items=backbone.items)
        return training.stage(Caser(convolutions, catalog, next_item, make_optimizer=optimizer), sliding), None
    return training.stage(NextItemPrediction(backbone, next_item, make_optimizer=optimizer), whole), None
