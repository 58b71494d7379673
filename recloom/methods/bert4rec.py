"""BERT4Rec: a Transformer that sees both sides fills in hidden items; serving hides the one after the last.

Paper: Sun et al., BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer, CIKM
2019.

Departures: positions count from the newest item, as in S3-Rec's family (`positions="from_start"`: from the oldest, as
in the authors' rows, padded on the right); rows of a long history begin half of `length` apart (`step`; the authors' a
tenth on Beauty). A row is masked anew every time it is seen, where the authors' code writes ten masked copies and one
with the last item alone hidden; the latter is `last_share`, 1 in 11. The number hidden is rounded down and at least one
(the code rounds). The optimiser is Adam at a constant rate without decay of weights (the code: 1e-4 falling linearly
over 400,000 steps, weight decay .01); gradients are clipped at norm 5 as in the code. Batches hold rows of like length;
`grouping="random"` (code) any. It learns several times slower than a model with a target at every position: give it
time (`epochs`, `patience`) before comparing it.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recloom.data.batch import SequenceBatch
from recloom.data.catalog import Catalog
from recloom.data.windows import sliding
from recloom.errors import InputError
from recloom.methods import sasrec
from recloom.methods.about import About
from recloom.methods.composition import MakeBackbone, composed
from recloom.nn.transformer_blocks import EPS
from recloom.objectives.precision import product_dtype
from recloom.objectives.softmax import full_softmax
from recloom.training import Backbone, MakeOptimizer, Method, Schedule, Stage
from recloom.views import mask_share

ABOUT = About("Sun et al., BERT4Rec, CIKM", 2019)


class BERT4Rec(Method):
    """Cloze: softmax over all items at hidden positions, `LN(GELU(W h + b)) E^T + c` (section 3.6 of the paper).

    Args:
        backbone: reads the bidirectional context.
        mask_share: share of a row's items that are hidden (rho).
        last_share: share of rows whose last item alone is hidden, as serving asks.
        precision: of the products of the full softmax, "fp32", "bf16" or "auto" (bf16 where the processor has units for
            it).
    """

    bias_columns = 1

    def __init__(
        self,
        backbone: Backbone,
        *,
        mask_share: float = 0.6,
        last_share: float = 1 / 11,
        precision: str = "auto",
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        if backbone.encoder.length < 2:
            raise InputError("length=1 leaves no room for the mask behind the last item; choose at least 2")
        super().__init__(backbone, length=backbone.encoder.length - 1, make_optimizer=make_optimizer)
        backbone.encoder.require("bidirectional")
        for name, value in (("mask_share", mask_share), ("last_share", last_share)):
            if not 0 <= value <= 1:
                raise InputError(f"{name}={value} must lie in 0..1")
        dim = backbone.encoder.dim
        self.mask_share, self.last_share, self.precision = mask_share, last_share, precision
        product_dtype(precision, torch.device("cpu"))
        self.transform, self.norm = nn.Linear(dim, dim), nn.LayerNorm(dim, EPS)
        nn.init.normal_(self.transform.weight, 0, 0.02)
        nn.init.zeros_(self.transform.bias)
        self.bias = nn.Parameter(torch.zeros(backbone.items.n_items + 2))

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        items = batch.whole()
        seen = self.hide(items)
        hidden = seen != items
        states, dtype = self.backbone.at(seen, hidden, "bidirectional"), product_dtype(self.precision, items.device)
        return self.total(hidden=full_softmax(self.head(states), self.catalogue(), items[hidden], dtype))

    def hide(self, items: Tensor) -> Tensor:
        """Rows with a share of their items hidden, or their last item alone."""
        mask_id = self.backbone.items.mask_id
        seen = mask_share(items, mask_id, self.mask_share, self.generator, least=1)
        rows, ends = torch.arange(len(items), device=items.device), (items != 0).sum(1) - 1
        last = items.clone()
        last[rows, ends] = mask_id
        alone = torch.rand(len(items), generator=self.generator, device=items.device) < self.last_share
        return torch.where(alone[:, None], last, seen)

    def head(self, states: Tensor) -> Tensor:
        """`(n, dim)` -> `(n, dim + 1)`; the last value meets the items' biases."""
        asked = self.norm(F.gelu(self.transform(states)))
        return torch.cat([asked, torch.ones_like(asked[:, :1])], 1)

    def queries(self, batch: SequenceBatch) -> Tensor:
        items = F.pad(batch.items, (0, 1))
        items = items.scatter(1, batch.lengths[:, None], self.backbone.items.mask_id)
        return self.head(self.backbone.last(items, "bidirectional"))[:, None]

    def catalogue(self) -> Tensor:
        return torch.cat([self.backbone.items.table(), self.bias[:, None]], 1)


@composed(
    backbone=partial(sasrec.make_backbone, attention_dropout=0.2, positions="from_end"),
    training=partial(Schedule, epochs=400, patience=40),
)
def build(
    catalog: Catalog,
    backbone: MakeBackbone,
    training: Schedule,
    *,
    mask_share: float = 0.6,
    last_share: float = 1 / 11,
    step: int | None = None,
    precision: str = "auto",
    grouping: str = "length",
) -> list[Stage]:
    """BERT4Rec from numbers; see `BERT4Rec`.

    Args:
        length: the longest row, the mask behind the last item included.
        step: how many items apart the rows of a long history begin; half of `length` if None.
        grouping: batches hold rows of like length ("length"), or any ("random").
    """
    method = BERT4Rec(
        backbone(catalog),
        mask_share=mask_share,
        last_share=last_share,
        precision=precision,
        make_optimizer=training.optimizer(),
    )
    options = {"grouping": grouping, "counted": "items", "gradient_clip": 5.0}
    return [training.stage(method, partial(sliding, step=step), **options)]
