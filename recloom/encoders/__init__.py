"""Item vectors to states."""

from recloom.encoders.encoder import Encoder
from recloom.encoders.transformer import Transformer

__all__ = ["Encoder", "Transformer"]
