"""Item ids to vectors."""

from recloom.items.embedder import ItemEmbedder
from recloom.items.ids import IdEmbedding

__all__ = ["IdEmbedding", "ItemEmbedder"]
