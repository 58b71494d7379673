"""Blocks. They know no items and no batches."""

from recloom.nn.attention import SelfAttention
from recloom.nn.intents import IntentDisentangling
from recloom.nn.ragged import Ragged
from recloom.nn.transformer_blocks import BertBlock, OriginalBlock

__all__ = ["BertBlock", "IntentDisentangling", "OriginalBlock", "Ragged", "SelfAttention"]
