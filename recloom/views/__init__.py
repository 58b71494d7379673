"""A batch of sequences to another one. Views know no encoder, loss or paper."""

from recloom.views.crop_items import crop_items
from recloom.views.cut_segment import cut_segment
from recloom.views.draw_places import draw_places
from recloom.views.floor_share import floor_share
from recloom.views.insert_items import insert_items
from recloom.views.mask_items import mask_items, mask_share
from recloom.views.one_of import one_of
from recloom.views.reorder_items import reorder_items
from recloom.views.substitute_items import substitute_items
from recloom.views.two_different import Operator, two_different

__all__ = [
    "Operator",
    "crop_items",
    "cut_segment",
    "draw_places",
    "floor_share",
    "insert_items",
    "mask_items",
    "mask_share",
    "one_of",
    "reorder_items",
    "substitute_items",
    "two_different",
]
