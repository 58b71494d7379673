"""Loom: the house method, for who does not want to choose: parts of several papers that work together.

No paper. Its parts: SASRec's Transformer with softmax over all items at every position (Kang and McAuley 2018; Li et
al. 2023 and Klenitskiy and Vasilev 2023 for the loss); causal moving averages of the history beside attention (after
BSARec, Shin et al. 2024); an item is its own vector plus the mean of its attributes', in the input and in what states
are compared with, with dropout on the attributes (`id_dropout`: on the own vectors too, for items without actions);
terms for the items a history holds already, fitted on validation while the rest learns nothing of them; a running mean
of the weights is what is kept. Data without attributes get the same without them. `average_share=0`,
`attributes=False`, `seen_items=False` and `averaging=0` leave single parts out; all four leave SASRec. S3-Rec's
pre-training (Zhou et al. 2020) can come first, with `pretrain_epochs`.
"""

from __future__ import annotations

from functools import partial

from recloom.data.catalog import Catalog
from recloom.encoders import Transformer
from recloom.errors import refuse_unread
from recloom.items import IdEmbedding, ItemEmbedder, ItemsWithAttributes
from recloom.methods import s3rec
from recloom.methods.about import About
from recloom.methods.composition import MakeBackbone, composed
from recloom.objectives import NextItem
from recloom.training import Backbone, NextItemPrediction, Stage, WindowsSchedule

ABOUT = About("", 0, "read")

LONG = 75
"""Mean training actions of a user from which rows hold 200 items and dropout is .2, as in SASRec's paper on
MovieLens-1M; else 50 and .5."""


def make_backbone(
    catalog: Catalog,
    *,
    dim: int = 128,
    layers: int = 2,
    heads: int = 2,
    length: int | None = None,
    dropout: float | None = None,
    attention_dropout: float | None = None,
    positions: str = "from_end",
    average_share: float = 0.7,
    attributes: bool = True,
    attribute_dropout: float = 0.3,
    id_dropout: float = 0.0,
) -> Backbone:
    """Items with their attributes, where they have any, under a `Transformer`; see `ItemsWithAttributes`.

    Args:
        length: of rows; if None 200 where users have at least `LONG` training actions on average, else 50.
        dropout: rate on the embedded input and every sub-layer; if None .2 where users have so many actions, else .5.
        attributes: add the mean of an item's attribute vectors to its own, where the data have any.
    """
    if not attributes:
        unread = {"attribute_dropout": attribute_dropout, "id_dropout": id_dropout}
        refuse_unread(make_backbone, unread, "attributes=False reads items by id alone; leave it out")
    items: ItemEmbedder = IdEmbedding(catalog, dim)
    if attributes and catalog.n_attributes:
        items = ItemsWithAttributes(
            catalog,
            dim,
            join="mean",
            scored_by="items",
            attribute_dropout=attribute_dropout,
            id_dropout=id_dropout,
        )
    long = bool(catalog.n_users) and catalog.train_counts.sum() >= LONG * catalog.n_users
    if length is None:
        length = 200 if long else 50
    if dropout is None:
        dropout = 0.2 if long else 0.5
    encoder = Transformer(
        dim,
        layers=layers,
        heads=heads,
        length=length,
        dropout=dropout,
        attention_dropout=attention_dropout,
        positions=positions,
        average_share=average_share,
    )
    return Backbone(items, encoder)


@composed(backbone=make_backbone, training=partial(WindowsSchedule, batch_size=None, averaging=0.995, seen_items=True))
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: WindowsSchedule,
    *,
    aap_weight: float = 0.2,
    mip_weight: float = 1.0,
    map_weight: float = 1.0,
    sp_weight: float = 0.5,
    mask_rate: float = 0.2,
    pretrain_windows: str = "whole",
    pretrain_batch_size: int | None = None,
    pretrain_epochs: int = 0,
    loss: str = "softmax",
    logits: str = "dot",
    temperature: float = 1.0,
    learned_temperature: bool = False,
    label_smoothing: float = 0.0,
    contrast_weight: float = 0.0,
    views_weight: float = 0.0,
    contrast_temperature: float = 0.1,
    precision: str = "auto",
) -> list[Stage]:
    """Loom from numbers; see `NextItemPrediction`, `NextItem`, and `s3rec.build` for the pre-training.

    Args:
        pretrain_epochs: of S3-Rec's pre-training; 0 leaves it out.
        pretrain_batch_size: average rows of a batch of pre-training; by their items if None.
    """
    if not contrast_weight and not views_weight:
        reason = "contrast_weight and views_weight are 0, so that nothing is contrasted; leave it out"
        refuse_unread(build, {"contrast_temperature": contrast_temperature}, reason)
    made, make_optimizer = backbone(catalog), training.optimizer()
    next_item = NextItem(
        loss, logits=logits, temperature=temperature, label_smoothing=label_smoothing, precision=precision
    )
    method = NextItemPrediction(
        made,
        next_item,
        learned_temperature=learned_temperature,
        contrast_weight=contrast_weight,
        views_weight=views_weight,
        contrast_temperature=contrast_temperature,
        make_optimizer=make_optimizer,
    )
    tune = training.stage(method)
    weights = {"mip": mip_weight, "sp": sp_weight}
    if catalog.n_attributes:
        weights |= {"aap": aap_weight, "map": map_weight}
    if not pretrain_epochs or not any(weights.values()):
        return [tune]
    pretraining = s3rec.S3Pretraining(made, catalog, weights, mask_rate=mask_rate, make_optimizer=make_optimizer)
    return [pretraining.stage(pretrain_windows, pretrain_batch_size, pretrain_epochs), tune]
