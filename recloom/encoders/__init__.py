"""Item vectors to states."""

from recloom.encoders.convolutional import Convolutional
from recloom.encoders.encoder import Encoder
from recloom.encoders.parallel import Parallel
from recloom.encoders.recurrent import Recurrent
from recloom.encoders.transformer import Transformer

__all__ = ["Convolutional", "Encoder", "Parallel", "Recurrent", "Transformer"]
