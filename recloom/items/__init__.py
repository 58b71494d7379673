"""Item ids to vectors."""

from recloom.items.attributes import AttributeEmbedding
from recloom.items.by_attention import ItemsByAttention
from recloom.items.embedder import ItemEmbedder
from recloom.items.ids import IdEmbedding
from recloom.items.with_attributes import ItemsWithAttributes

__all__ = ["AttributeEmbedding", "IdEmbedding", "ItemEmbedder", "ItemsByAttention", "ItemsWithAttributes"]
