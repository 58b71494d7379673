"""What MMInfoRec trains: a sequence model over items that attend to their attributes."""

from __future__ import annotations

from recloom.data.catalog import Catalog
from recloom.encoders import Recurrent, Transformer
from recloom.encoders.encoder import Encoder
from recloom.errors import InputError, refuse_unread
from recloom.items import IdEmbedding, ItemEmbedder, ItemsByAttention
from recloom.training import Backbone


def make_items(catalog: Catalog, items: str, dim: int, layers: int, heads: int, dropout: float) -> ItemEmbedder:
    """Items by id alone, or with their attributes in one of the forms of `ItemsByAttention`."""
    if items == "id":
        return IdEmbedding(catalog, dim)
    if not catalog.n_attributes:
        raise InputError(
            "the items of this data have no attributes. Give them with `recloom prepare LOG --items ITEMS "
            '--attributes COLUMN`, or read items by id alone with items="id"'
        )
    return ItemsByAttention(catalog, dim, form=items, layers=layers, heads=heads, dropout=dropout)


def make_backbone(
    catalog: Catalog,
    *,
    model: str = "sasrec",
    items: str = "attcc",
    dim: int = 64,
    layers: int = 2,
    heads: int = 2,
    length: int = 50,
    dropout: float = 0.5,
) -> Backbone:
    """Items under a causal `Transformer` of their width, or a recurrent unit.

    Args:
        model: "sasrec" or "gru4rec".
        items: "id" alone, or with attributes: "att", what attention to them makes of the item; "attcc", that beside the
            item's own vector; "meancc", the mean of the attributes' vectors beside it.
        dim: width of the vectors of items and attributes; "attcc" and "meancc" lay both end to end.
        layers, heads: of the Transformer and, in "att" and "attcc", of the attention over attributes.
    """
    if model not in ("sasrec", "gru4rec"):
        raise InputError(f"model={model!r} is not known; choose 'sasrec' or 'gru4rec'")
    if model == "gru4rec" and items not in ("att", "attcc"):
        reason = f"model={model!r} over items={items!r} has no Transformer; leave it out"
        refuse_unread(make_backbone, {"layers": layers, "heads": heads}, reason)
    embedder = make_items(catalog, items, dim, layers, heads, dropout)
    encoder: Encoder
    if model == "gru4rec":
        encoder = Recurrent(embedder.dim, hidden=2 * embedder.dim, length=length, dropout=dropout)
    else:
        encoder = Transformer(
            embedder.dim,
            layers=layers,
            heads=heads,
            length=length,
            dropout=dropout,
            inner=embedder.dim,
            activation="relu",
            input_norm=False,
            inner_dropout=dropout,
            eps=1e-5,
        )
    return Backbone(embedder, encoder)
