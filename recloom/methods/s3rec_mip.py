"""S3-Rec without attributes: masked items and segments alone, the "S3-Rec_MIP" baseline of later papers.

Paper: Zhou et al., S3-Rec, CIKM 2020; so reduced by Qiu et al., DuoRec, WSDM 2022, and Qin et al., MCLRec, SIGIR 2023,
whose S3-Rec_MIP keeps masked items only: `sp_weight=0`.

Departures: those of s3rec.
"""

from __future__ import annotations

from typing import Any

from recloom.data.catalog import Catalog
from recloom.methods import s3rec
from recloom.methods.about import About
from recloom.training import Stage

ABOUT = About("Zhou et al., S3-Rec (masked items and segments), CIKM", 2020)


def build(
    catalog: Catalog,
    *,
    model: str = "sasrec",
    context: str = "bidirectional",
    dim: int = 64,
    layers: int = 2,
    heads: int = 2,
    length: int = 50,
    dropout: float = 0.5,
    attention_dropout: float = 0.5,
    activation: str = "gelu",
    positions: str = "from_end",
    mip_weight: float = 1.0,
    sp_weight: float = 0.5,
    mask_rate: float = 0.2,
    mask_last: str = "always",
    item_loss: str = "nested",
    segment_loss: str = "nested",
    bilinear_bias: bool = True,
    reduction: str = "sum",
    pretrain_windows: str = "prefixes",
    pretrain_batch_size: int = 100,
    pretrain_epochs: int = 150,
    loss: str = "softmax",
    negatives: int = 1,
    precision: str = "auto",
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    batch_size: int = 256,
    epochs: int = 200,
    patience: int = 10,
) -> list[Stage]:
    """S3-Rec with the weights of both attribute terms at 0; see `s3rec.build` for each argument."""
    numbers: dict[str, Any] = {name: value for name, value in locals().items() if name != "catalog"}
    return s3rec.build(catalog, aap_weight=0.0, map_weight=0.0, **numbers)
