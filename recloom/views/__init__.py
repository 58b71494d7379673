"""A batch of sequences to another one. Views know no encoder, loss or paper."""

from recloom.views.crop_items import crop_items
from recloom.views.cut_segment import cut_segment
from recloom.views.mask_items import mask_items, mask_share
from recloom.views.reorder_items import reorder_items
from recloom.views.two_different import Operator, two_different

__all__ = ["Operator", "crop_items", "cut_segment", "mask_items", "mask_share", "reorder_items", "two_different"]
