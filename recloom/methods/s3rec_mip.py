"""S3-Rec without attributes: masked items and segments alone, the "S3-Rec_MIP" baseline of later papers.

Paper: Zhou et al., S3-Rec, CIKM 2020; so reduced by Qiu et al., DuoRec, WSDM 2022, and Qin et al., MCLRec, SIGIR 2023,
whose S3-Rec_MIP keeps masked items only: `sp_weight=0`.

Departures: those of s3rec.
"""

from __future__ import annotations

from collections.abc import Callable

from recloom.data.catalog import Catalog
from recloom.methods import s3rec
from recloom.methods.about import About
from recloom.methods.composition import composed
from recloom.training import Stage

ABOUT = About("Zhou et al., S3-Rec (masked items and segments), CIKM", 2020)


@composed(hidden=("aap_weight", "map_weight", "attribute_view", "attribute_loss"), stages=s3rec.build)
def build(catalog: Catalog, stages: Callable[..., list[Stage]]) -> list[Stage]:
    """S3-Rec with the weights of both attribute terms at 0; see `s3rec.build`."""
    return stages(catalog, aap_weight=0.0, map_weight=0.0)
