"""A batch of sequences to another one. Views know no encoder, loss or paper."""

from recloom.views.cut_segment import cut_segment
from recloom.views.mask_items import mask_items

__all__ = ["cut_segment", "mask_items"]
